"""Prompts and weights of a base's training, and settings that cannot be meant."""

import pandas as pd
import pytest
import torch

from augment.base import tiny_model as compact
from augment.base.tiny_model import CompactConfig, word_tokenizer
from augment.base.train import OwnBaseConfig, class_weights, training_prompts
from augment.prompts import PromptConfig, class_prompt, prompt_for
from data.manifest import COLUMNS, Manifest


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    ids = [f"i{number}" for number in range(500)]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": ids}
    table = pd.DataFrame(columns, dtype=str).assign(root="r", source="real", age="70", localization="back")
    table["label"] = ["mel"] * 100 + ["nv"] * 400
    return Manifest(table, {"r": tmp_path})


def test_a_share_of_the_prompts_names_no_diagnosis(manifest: Manifest):
    prompts = training_prompts(manifest, PromptConfig(), 0.2, 0.5, seed=1)
    assert len(prompts) == 2 * len(manifest)
    assert set(prompts) == {prompt_for("mel"), prompt_for("nv"), class_prompt()}
    assert 150 < prompts.count(class_prompt()) < 250
    named = [prompt for prompt in prompts[:100] + prompts[500:600] if prompt != class_prompt()]
    assert set(named) == {prompt_for("mel")}


def test_prompts_tell_the_table_but_for_a_share(manifest: Manifest):
    told = training_prompts(manifest, PromptConfig(site="localization", age="age"), 0.2, 0.5, seed=1)
    plain = training_prompts(manifest, PromptConfig(), 0.2, 0.5, seed=1)
    more = [new.removeprefix(old) for new, old in zip(told, plain, strict=True)]
    assert set(more) == {"", " on the back of an elderly patient"}
    assert 400 < more.count("") < 600


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)])
def test_classes_are_evened_out_as_far_as_is_asked(manifest: Manifest, balance: float, share: float):
    weights = class_weights(manifest, balance)
    assert torch.equal(weights[:500], weights[500:])
    assert float(weights[:100].sum()) == pytest.approx(share)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start": "pretrain"}, "is no base yet"),
        ({"start": "scratch", "autoencoder": None}, "no autoencoder to keep"),
        ({"sizes": CompactConfig(text_width=64)}, "`sizes` are those of tiny already"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        OwnBaseConfig(**settings)


def test_sizes_reach_a_hundred_million_parameters():
    large = CompactConfig(
        image_size=128, vae_channels=(64, 128, 256), unet_channels=(160, 320, 480), unet_layers=2, text_width=384
    )
    tokenizer = word_tokenizer(large.prompt_tokens)
    with torch.device("meta"):  # shapes alone
        parts = (compact._unet(large, 32), compact._vae(large), compact._text_encoder(large, tokenizer))
    numbers = sum(weights.numel() for part in parts for weights in part.parameters())
    assert 80e6 < numbers < 120e6
