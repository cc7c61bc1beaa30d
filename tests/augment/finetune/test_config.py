import dataclasses

import pytest
from pydantic import ValidationError

from augment.diffusion.sample import SamplerConfig
from augment.finetune.config import FinetuneConfig, decisive

# settings that change no result beyond rounding, and those that do
SPEED = {
    "classes_at_once": 2,
    "accumulate": 4,
    "gradient_checkpointing": True,
    "offload": True,
}
RESULT = {
    "method": "dreambooth",
    "steps": 401,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "warmup": 21,
    "weight_decay": 0.02,
    "clip": 2.0,
    "rank": 8,
    "conv": False,
    "text_encoder": True,
    "flips": False,
    "prompt_dropout": 0.1,
    "min_snr_gamma": 5.0,
    "prior_images": 65,
    "prior_weight": 0.5,
    "checkpoint_every": 50,
    "preview_every": 50,
    "preview": SamplerConfig(steps=13),
    "optimizer": "adamw-8bit",
}


def test_every_setting_is_known_to_change_the_result_or_not_to():
    names = {field.name for field in dataclasses.fields(FinetuneConfig)}
    assert not SPEED.keys() & RESULT.keys()
    assert names == SPEED.keys() | RESULT.keys(), "add a new setting to SPEED or RESULT here, and see to decisive()"


@pytest.mark.parametrize("name", SPEED)
def test_what_only_changes_speed_makes_no_adapter_anew(name):
    assert decisive(FinetuneConfig(**{name: SPEED[name]})) == decisive(FinetuneConfig())


@pytest.mark.parametrize("name", RESULT)
def test_what_changes_the_result_makes_the_adapter_anew(name):
    assert decisive(FinetuneConfig(**{name: RESULT[name]})) != decisive(FinetuneConfig())


def test_adapters_from_before_the_optimizer_could_be_chosen_are_kept():
    assert "optimizer" not in decisive(FinetuneConfig())
    assert decisive(FinetuneConfig(optimizer="adamw-8bit"))["optimizer"] == "adamw-8bit"


@pytest.mark.parametrize(
    ("settings", "rate", "token"),
    [
        ({}, 1e-4, None),
        ({"method": "dreambooth"}, 5e-6, "sks"),
        ({"method": "dreambooth", "learning_rate": 2e-6}, 2e-6, "sks"),
    ],
)
def test_rate_and_rare_word_are_the_method_s(settings, rate, token):
    config = FinetuneConfig(**settings)
    assert config.rate == rate
    assert config.token == token


@pytest.mark.parametrize(
    ("settings", "together"),
    [({}, True), ({"text_encoder": True}, False), ({"method": "dreambooth"}, False)],
)
def test_only_lora_of_the_unet_is_trained_in_one_batch(settings, together):
    assert FinetuneConfig(**settings).together == together


def test_parts_of_a_batch_must_be_alike():
    assert FinetuneConfig(batch_size=6, accumulate=3).accumulate == 3
    with pytest.raises(ValidationError, match="accumulate is 4, which does not divide batch_size, 6"):
        FinetuneConfig(batch_size=6, accumulate=4)
