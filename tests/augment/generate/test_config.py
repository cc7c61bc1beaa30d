import dataclasses
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from augment.generate.config import GenerateConfig
from augment.generate.few_step import FewStepConfig
from data.config import parse
from data.errors import BaseError, ConfigError

FEW_STEP = FewStepConfig(lora="lcm.safetensors")


def sampling(**settings):
    config = GenerateConfig(**settings).sampling()
    return config.steps, config.guidance_scale, config.guidance_end


def test_a_preset_gives_what_the_config_does_not_set():
    assert sampling() == sampling(preset="quality") == (20, 2.0, 1.0)
    assert sampling(preset="fast") == (10, 2.0, 0.5)
    assert sampling(preset="few-step", few_step=FEW_STEP) == (4, 1.0, 1.0)
    assert sampling(preset="fast", steps=12, guidance_scale=3.0) == (12, 3.0, 0.5)
    assert sampling(preset="fast", guidance_end=0.0) == (10, 2.0, 0.0)
    assert sampling(steps=12, guidance_end=0.4) == (12, 2.0, 0.4)


def test_the_solver_follows_from_preset_and_kind_of_few_step_lora():
    assert GenerateConfig().solver == GenerateConfig(preset="fast").solver == "dpmsolver++2m"
    for kind, solver in (("lcm", "lcm"), ("tcd", "tcd"), ("hyper-sd", "ddim")):
        few_step = dataclasses.replace(FEW_STEP, kind=kind)
        assert GenerateConfig(preset="few-step", few_step=few_step).solver == solver


def test_records_have_a_named_samplers_own_name_and_spacing():
    for name in ("DPM++ 2M Karras", "dpmsolver++2m-karras", "dpm++-2m-karras"):
        assert GenerateConfig(sampler=name).solver == "dpm++-2m-karras"
    assert GenerateConfig(sampler="DPMSolverMultistepScheduler", sigmas="karras").solver == "dpm++-2m-karras"
    assert GenerateConfig(preset="fast", sigmas="exponential").solver == "dpm++-2m-exponential"
    assert sampling(preset="fast", sampler="heun") == (10, 2.0, 0.5)
    assert sampling(preset="fast", sampler="heun", steps=80) == (80, 2.0, 0.5)  # the limit is that of fast's sampler


def test_a_named_sampler_is_a_result_setting_and_its_spelling_is_not():
    plain, euler = GenerateConfig().result_settings(), GenerateConfig(sampler="Euler").result_settings()
    assert euler == {**plain, "sampler": "euler", "sigmas": None}
    assert GenerateConfig(sampler="EulerDiscreteScheduler").result_settings() == euler
    karras = GenerateConfig(sampler="Euler Karras").result_settings()
    assert karras == GenerateConfig(sampler="euler", sigmas="karras").result_settings()
    assert karras == {**plain, "sampler": "euler", "sigmas": "karras"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "few-step"}, r"generate: preset few-step needs a LoRA .* few_step: \{lora: FILE\}"),
        ({"few_step": {"lora": "lcm.safetensors"}}, "few_step is for preset: few-step, not quality"),
        ({"preset": "few-step", "few_step": {"lora": "a"}, "steps": 20}, "few-step takes up to 8 steps, not 20"),
        ({"preset": "fast", "steps": 80}, "fast takes up to 50 steps, not 80"),
        ({"negative_prompt": "[hair|ruler]"}, r"alternation \[a\|b\] is not supported; write one of its texts"),
        ({"negative_prompts": {"df": "(hair:99)"}}, "the weight 99 is not between -10 and 10"),
        ({"emphasis": "mean"}, "emphasis: Input should be 'plain', 'webui-mean' or 'off'"),
        ({"sampler": "Eulr"}, r"generate.*: no sampler is called 'Eulr'; take euler"),
        ({"sampler": "DPM adaptive"}, "dpm-adaptive is not offered: it chooses its steps"),
        ({"sampler": "Euler a", "sigmas": "karras"}, "euler-a cannot have karras noise levels"),
        ({"sampler": "Euler Karras", "sigmas": "beta"}, "leave one of them out"),
        ({"sigmas": "karas"}, "sigmas: Input should be 'linspace', 'leading', .*'karras'"),
        ({"sampler": "lcm", "steps": 60}, "sampler lcm takes up to 50 steps, not 60"),
        ({"preset": "few-step", "few_step": {"lora": "a"}, "sampler": "euler"}, "that its LoRA was distilled for"),
        ({"preset": "few-step", "few_step": {"lora": "a"}, "sigmas": "beta"}, "that its LoRA was distilled for"),
        ({"preset": "fats"}, "preset: Input should be 'quality', 'fast' or 'few-step'"),
        ({"preset": "few-step", "few_step": {"lora": "a", "kind": "turbo"}}, r"few_step\.kind: Input should be 'lcm'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_a_line(settings, message):
    with pytest.raises(ConfigError, match=message) as refused:
        parse(GenerateConfig, settings, "study.yaml: generate")
    assert "\n" not in str(refused.value)


def test_result_settings_are_those_that_change_images():
    settings = GenerateConfig(steps=12).result_settings()
    assert settings == {
        "preset": "quality",
        "steps": 12,
        "guidance_scale": 2.0,
        "guidance_end": 1.0,
        "few_step": None,
        "taesd": None,
        "precision": "auto",
        "format": "jpg",
        "jpeg_quality": 95,
        "negative_prompt": "",
    }
    assert GenerateConfig(steps=12, batch_size=4, vae_batch_size=2, compile=True).result_settings() == settings
    assert GenerateConfig(steps=12, guidance_scale=2.0).result_settings() == settings  # as the preset has it
    assert GenerateConfig(preset="fast", steps=12, guidance_end=1.0).result_settings() == {**settings, "preset": "fast"}
    assert GenerateConfig(steps=12, precision="fast").result_settings() == {**settings, "precision": "fast"}


def test_a_class_has_its_own_negative_prompt_or_that_of_all():
    config = GenerateConfig(steps=12, negative_prompt="hair", negative_prompts={"df": "ruler"})
    assert config.for_label("df") == GenerateConfig(steps=12, negative_prompt="ruler")
    assert config.for_label("vasc") == GenerateConfig(steps=12, negative_prompt="hair")
    assert config.for_label("df").for_label("df") == config.for_label("df")


def test_settings_of_prompts_are_result_settings_where_they_are_not_the_default():
    plain = GenerateConfig().result_settings()
    assert GenerateConfig(emphasis="off").result_settings() == {**plain, "emphasis": "off"}
    of_classes = GenerateConfig(negative_prompts={"df": "hair"})
    assert of_classes.result_settings() == {**plain, "negative_prompts": {"df": "hair"}}
    assert of_classes.for_label("vasc").result_settings() == plain
    assert GenerateConfig(emphasis="off", negative_prompt="[a|b]").negative_prompt == "[a|b]"


def test_a_few_step_lora_is_identified_by_its_files_bytes(tmp_path):
    found = []
    for fill in (0.0, 1.0):
        save_file({"x": zeros(1) + fill}, tmp_path / "lcm.safetensors")
        few_step = FewStepConfig(lora=str(tmp_path / "lcm.safetensors"))
        found.append(GenerateConfig(preset="few-step", few_step=few_step).result_settings())
    assert found[0] != found[1]
    assert str(tmp_path) not in str(found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "few-step", "few_step": FEW_STEP}, r"lcm\.safetensors: no such file; generate\.few_step\.lora"),
        ({"preset": "few-step", "few_step": FewStepConfig(lora=__file__)}, r"is no \.safetensors file"),
        ({"taesd": str(Path(__file__).parent)}, r"config\.json: no such file; generate\.taesd is the folder"),
    ],
)
def test_files_that_do_not_exist_are_named(settings, message):
    with pytest.raises(BaseError, match=message):
        GenerateConfig(**settings).result_settings()
