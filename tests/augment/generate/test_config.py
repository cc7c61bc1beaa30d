import dataclasses
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from augment.generate.config import GenerateConfig
from augment.generate.few_step import DraftConfig
from data.config import parse
from data.errors import BaseError, ConfigError

DRAFT = DraftConfig(lora="lcm.safetensors")


def said(**settings):
    sampling = GenerateConfig(**settings).sampling()
    return sampling.steps, sampling.guidance, sampling.guidance_until


def test_a_schedule_says_what_the_config_does_not():
    assert said() == said(schedule="quality") == (20, 2.0, 1.0)
    assert said(schedule="fast") == (10, 2.0, 0.5)
    assert said(schedule="draft", draft=DRAFT) == (4, 1.0, 1.0)
    assert said(schedule="fast", steps=12, guidance=3.0) == (12, 3.0, 0.5)
    assert said(schedule="fast", guidance_until=0.0) == (10, 2.0, 0.0)
    assert said(steps=12, guidance_until=0.4) == (12, 2.0, 0.4)


def test_the_solver_follows_from_schedule_and_kind():
    assert GenerateConfig(schedule="fast").levels == "fast"
    assert GenerateConfig(schedule="draft", draft=dataclasses.replace(DRAFT, kind="tcd")).levels == "tcd"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "draft"}, r"generate: schedule draft needs an update .* draft: \{lora: FILE\}"),
        ({"draft": {"lora": "lcm.safetensors"}}, "draft is for schedule: draft, not quality"),
        ({"schedule": "draft", "draft": {"lora": "a"}, "steps": 20}, "draft takes up to 8 steps, not 20"),
        ({"schedule": "fast", "steps": 80}, "fast takes up to 50 steps, not 80"),
        ({"schedule": "fats"}, "schedule: Input should be 'quality', 'fast' or 'draft'"),
        ({"schedule": "draft", "draft": {"lora": "a", "kind": "turbo"}}, r"draft\.kind: Input should be 'lcm'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_a_line(settings, message):
    with pytest.raises(ConfigError, match=message) as refused:
        parse(GenerateConfig, settings, "study.yaml: generate")
    assert "\n" not in str(refused.value)


def test_what_images_depend_on_is_what_it_was_before_there_were_schedules():
    before = {
        "steps": 12,
        "guidance": 2.0,
        "guidance_until": 1.0,
        "format": "jpg",
        "quality": 95,
        "negative_prompt": "",
    }
    assert GenerateConfig(steps=12).recipe() == before
    assert GenerateConfig(steps=12, batch_size=4, decode_batch=2, compile=True).recipe() == before
    assert GenerateConfig(schedule="fast", steps=12, guidance_until=1.0).recipe() == {**before, "schedule": "fast"}
    assert GenerateConfig(steps=12, precision="fast").recipe() == {**before, "precision": "fast"}


def test_a_draft_is_told_by_its_files_bytes(tmp_path):
    recipes = []
    for fill in (0.0, 1.0):
        save_file({"x": zeros(1) + fill}, tmp_path / "lcm.safetensors")
        draft = DraftConfig(lora=str(tmp_path / "lcm.safetensors"))
        recipes.append(GenerateConfig(schedule="draft", draft=draft).recipe())
    assert recipes[0] != recipes[1]
    assert str(tmp_path) not in str(recipes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "draft", "draft": DRAFT}, r"lcm\.safetensors: no such file; generate\.draft\.lora"),
        ({"schedule": "draft", "draft": DraftConfig(lora=__file__)}, r"is no \.safetensors file"),
        ({"taesd": str(Path(__file__).parent)}, r"config\.json: no such file; generate\.taesd is the folder"),
    ],
)
def test_files_that_are_not_there_are_named(settings, message):
    with pytest.raises(BaseError, match=message):
        GenerateConfig(**settings).recipe()
