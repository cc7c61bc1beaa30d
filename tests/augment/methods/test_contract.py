import dataclasses

import pytest
from pydantic import ValidationError

from augment.methods.contract import FinetuneSettings
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.lora import LoraConfig


def test_the_settings_alone_are_no_method():
    with pytest.raises(TypeError, match="abstract"):
        FinetuneSettings(method="none", learning_rate=1e-4)


def test_methods_share_their_settings_but_for_their_own():
    shared = {field.name for field in dataclasses.fields(FinetuneSettings)}
    own = {
        settings: {field.name for field in dataclasses.fields(settings)} - shared
        for settings in (LoraConfig, DreamBoothConfig)
    }
    assert own == {
        LoraConfig: {"rank", "conv_layers", "max_classes_per_batch"},
        DreamBoothConfig: {"num_class_images", "prior_loss_weight"},
    }


def test_learning_rate_and_rare_word_are_the_methods_own():
    assert (LoraConfig().learning_rate, LoraConfig().token) == (1e-4, None)
    assert (DreamBoothConfig().learning_rate, DreamBoothConfig().token) == (5e-6, "sks")
    assert DreamBoothConfig(learning_rate=2e-6).learning_rate == 2e-6


@pytest.mark.parametrize(
    ("config", "max_classes"),
    [
        (LoraConfig(), None),
        (LoraConfig(max_classes_per_batch=2), 2),
        (LoraConfig(text_encoder=True), 1),
        (DreamBoothConfig(), 1),
    ],
)
def test_only_lora_of_the_unet_is_trained_in_one_batch(config, max_classes):
    assert config.max_classes == max_classes


def test_parts_of_a_batch_must_be_of_equal_size():
    assert LoraConfig(batch_size=6, gradient_accumulation_steps=3).gradient_accumulation_steps == 3
    with pytest.raises(ValidationError, match="gradient_accumulation_steps is 4, which does not divide batch_size, 6"):
        LoraConfig(batch_size=6, gradient_accumulation_steps=4)
