"""Prompts, sampling weights and progress of a base's training."""

import pandas as pd
import pytest
import torch

from augment.base.autoencoder import AutoencoderConfig
from augment.base.denoiser import DenoiserConfig
from augment.base.train import TrainingStages, class_weights, training_prompts
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
    prompts = training_prompts(manifest, PromptConfig(), class_dropout=0.2, attribute_dropout=0.5, seed=1)
    assert len(prompts) == 2 * len(manifest)
    assert set(prompts) == {prompt_for("mel"), prompt_for("nv"), class_prompt()}
    assert 150 < prompts.count(class_prompt()) < 250
    named = [prompt for prompt in prompts[:100] + prompts[500:600] if prompt != class_prompt()]
    assert set(named) == {prompt_for("mel")}


def test_prompts_use_the_table_but_for_a_share(manifest: Manifest):
    config = PromptConfig(site="localization", age="age")
    full = training_prompts(manifest, config, class_dropout=0.2, attribute_dropout=0.5, seed=1)
    plain = training_prompts(manifest, PromptConfig(), class_dropout=0.2, attribute_dropout=0.5, seed=1)
    more = [new.removeprefix(old) for new, old in zip(full, plain, strict=True)]
    assert set(more) == {"", " on the back of an elderly patient"}
    assert 400 < more.count("") < 600


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)])
def test_classes_are_balanced_as_far_as_is_asked(manifest: Manifest, balance: float, share: float):
    weights = class_weights(manifest, balance)
    assert torch.equal(weights[:500], weights[500:])
    assert float(weights[:100].sum()) == pytest.approx(share)


def test_progress_counts_the_steps_of_both_trainings():
    stages = TrainingStages(autoencoder=AutoencoderConfig(steps=3), denoiser=DenoiserConfig(steps=5))
    lines = []
    progress = lambda *line: lines.append(line)  # noqa: E731
    stages.progress_of("autoencoder", progress)(2, 3, "loss 0.500")
    stages.progress_of("denoiser", progress, stages.autoencoder_steps)(1, 5, "loss 0.250")
    assert lines == [(2, 8, "autoencoder, loss 0.500"), (4, 8, "denoiser, loss 0.250")]
    assert TrainingStages(autoencoder=None, denoiser=DenoiserConfig(steps=5)).steps == 5
