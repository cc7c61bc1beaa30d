import dataclasses

import pytest
import torch
from pydantic import ValidationError

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.base.param_count import base_parts
from augment.device import PARTS
from augment.diffusion.conditioning import Conditioning, encode_prompts
from augment.methods.contract import FinetuneSettings
from augment.methods.controlnet import ControlNetConfig
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from augment.methods.lycoris import LohaConfig, LokrConfig
from augment.methods.table import METHODS
from augment.methods.textual_inversion import TextualInversionConfig


def test_the_settings_alone_are_no_method():
    with pytest.raises(TypeError, match="abstract"):
        FinetuneSettings(method="none", learning_rate=1e-4)


def test_methods_share_their_settings_but_for_their_own():
    shared = {field.name for field in dataclasses.fields(FinetuneSettings)}
    own = {settings: {field.name for field in dataclasses.fields(settings)} - shared for settings in METHODS.values()}
    assert own == {
        LoraConfig: {"rank", "conv_layers", "init_lora", "max_classes_per_batch"},
        DreamBoothConfig: {"num_class_images", "prior_loss_weight"},
        LohaConfig: {"rank", "conv_layers"},
        LokrConfig: {"rank", "conv_layers"},
        TextualInversionConfig: {"vectors", "init_word"},
        HypernetworkConfig: {"layer_structure", "activation", "layer_norm", "dropout", "weight_init"},
        ControlNetConfig: {"condition", "masks"},
    }


def test_learning_rate_and_rare_word_are_the_methods_own():
    assert (LoraConfig().learning_rate, LoraConfig().token) == (1e-4, None)
    assert (DreamBoothConfig().learning_rate, DreamBoothConfig().token) == (5e-6, "sks")
    assert (TextualInversionConfig().learning_rate, TextualInversionConfig().token) == (5e-3, "<class>")
    assert (HypernetworkConfig().learning_rate, HypernetworkConfig().token) == (1e-4, None)
    assert (ControlNetConfig().learning_rate, ControlNetConfig().token) == (1e-5, None)
    assert DreamBoothConfig(learning_rate=2e-6).learning_rate == 2e-6


@pytest.mark.parametrize(
    ("config", "max_classes"),
    [
        (LoraConfig(), None),
        (LoraConfig(max_classes_per_batch=2), 2),
        (LoraConfig(text_encoder=True), 1),
        (DreamBoothConfig(), 1),
        (TextualInversionConfig(), 1),
        (HypernetworkConfig(), 1),
        (ControlNetConfig(), 1),
    ],
)
def test_only_lora_of_the_unet_is_trained_in_one_batch(config, max_classes):
    assert config.max_classes == max_classes


def test_parts_of_a_batch_must_be_of_equal_size():
    assert LoraConfig(batch_size=6, gradient_accumulation_steps=3).gradient_accumulation_steps == 3
    with pytest.raises(ValidationError, match="gradient_accumulation_steps is 4, which does not divide batch_size, 6"):
        LoraConfig(batch_size=6, gradient_accumulation_steps=4)


@pytest.fixture(scope="module")
def embedded():
    """The embedded base, frozen as for fine-tuning."""
    pipe = load_base(BaseConfig())
    for name in PARTS:
        getattr(pipe, name).requires_grad_(requires_grad=False)
    return pipe


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(rank=4),
        LoraConfig(rank=4, conv_layers=False),
        LoraConfig(rank=4, text_encoder=True),
        LoraConfig(rank=4, conv_layers=False, text_encoder=True),
        DreamBoothConfig(),
        DreamBoothConfig(text_encoder=True),
        TextualInversionConfig(),
        HypernetworkConfig(),
        HypernetworkConfig(layer_structure=(1, 1.5, 2, 1), layer_norm=True),
    ],
    ids=lambda config: f"{config.method} {getattr(config, 'conv_layers', '')} {config.text_encoder}",
)
def test_as_many_parameters_of_the_embedded_base_get_a_gradient_as_the_config_counts(embedded, config):
    trainable = config.trainable(embedded, torch.device("cpu"))
    parameters = trainable.parameters(seed=0)
    trainable.bind([parameters])
    prompts = encode_prompts(trainable.pipe, ("dermoscopy of a dermatofibroma",))
    trainable.denoise(torch.ones(1, 8, 16, 16), torch.tensor([500]), Conditioning(prompts)).sum().backward()
    learning = [parameter for parameter in parameters.values() if parameter.grad is not None]
    assert config.trained_params(base_parts(BaseConfig(), 64)) == sum(parameter.numel() for parameter in learning)
    assert not any(p.grad is not None for part in PARTS for p in getattr(embedded, part).parameters())
