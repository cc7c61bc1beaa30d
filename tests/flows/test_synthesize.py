"""From few images to synthetic ones: classes learned together, and no generator that has seen the test part."""

import dataclasses

import pandas as pd
import pytest

from augment.finetune.config import FinetuneConfig
from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.splits.split import Split
from data.store import write_json
from flows.pipeline import steps_of
from flows.prepare import Images
from flows.steps import Step
from flows.study import StudyConfig
from flows.synthesize import finetune_step, finetune_together, finetunes, refuse_leaks


def part(group, folder):
    row = {
        **dict.fromkeys(COLUMNS, ""),
        "image_id": group,
        "root": "data",
        "path": group,
        "label": "df",
        "group_id": group,
    }
    return Manifest(pd.DataFrame([{**row, "source": "real"}], dtype=str), {"data": folder})


def drawn_by_one_that_saw(group, folder):
    step = Step(stage="images", what="df", folder=folder / "df", inputs={}, make=lambda *_: None)
    write_json(step.target / "generation.json", {"seen": {"image_ids": [], "group_ids": [group]}})
    return {"df": step}


def test_a_generator_that_saw_the_test_part_is_refused(tmp_path):
    split = Split(part("a", tmp_path), part("b", tmp_path), part("c", tmp_path))
    refuse_leaks(split, drawn_by_one_that_saw("a", tmp_path / "good"))
    with pytest.raises(DataError, match=r"generator of .* has seen 1 leakage groups of the test part, first \['c'\]"):
        refuse_leaks(split, drawn_by_one_that_saw("c", tmp_path / "bad"))


@pytest.fixture
def few(tmp_path):
    shots = {label: part(label, tmp_path) for label in ("df", "mel", "vasc")}
    contents = dict.fromkeys(shots, "0")
    images = Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=shots["df"], contents=contents)
    return images, shots


def test_classes_are_learned_together_and_an_interrupted_run_goes_on(few, tmp_path, monkeypatch):
    images, shots = few
    asked, watched = [], []

    def tune(base, given, pixels, config, folders, seed, progress, prompts, finished):
        asked.append(list(given))
        for label in given:
            progress(label, 1, 2, 0.5)
            if label == "mel" and len(asked) == 1:
                raise KeyboardInterrupt
            (folders[label] / "adapter.json").write_text("{}", encoding="utf-8")
            finished(label, 2.0)

    monkeypatch.setattr("flows.synthesize.finetune", tune)
    config = StudyConfig(runs=str(tmp_path))
    work = finetune_together(config, images, shots)
    assert work.what == "df, mel, vasc"
    assert [step.digest for step in work.steps] == [
        finetune_step(config, images, label, shots[label]).digest for label in shots
    ]
    with pytest.raises(KeyboardInterrupt):
        work(lambda *_: None)
    done = work(lambda *said: watched.append(said))
    assert asked == [["df", "mel", "vasc"], ["mel", "vasc"]]
    assert [(part.what, part.reused, part.seconds) for part in done.parts] == [
        ("df", True, 2.0),
        ("mel", False, 2.0),
        ("vasc", False, 2.0),
    ]
    assert watched == [(1, 4, "loss mel 0.500"), (2, 4, "loss mel 0.500, vasc 0.500")]


def test_how_many_classes_are_learned_at_once_redoes_nothing(few, tmp_path):
    images, shots = few
    config = StudyConfig(runs=str(tmp_path))
    steps = dataclasses.replace(config, finetune=dataclasses.replace(config.finetune, classes_at_once=1))
    digests = [finetune_step(one, images, "df", shots["df"]).digest for one in (config, steps)]
    assert digests[0] == digests[1]


def test_classes_that_no_batch_can_hold_together_are_learned_in_a_task_each(few, tmp_path):
    images, shots = few
    for finetune, expected in (
        ({"method": "lora"}, ["df, mel, vasc"]),
        ({"method": "lora", "text_encoder": True}, ["df", "mel", "vasc"]),
        ({"method": "dreambooth"}, ["df", "mel", "vasc"]),
    ):
        config = StudyConfig(runs=str(tmp_path), finetune=FinetuneConfig(**finetune))
        assert [work.what for work in finetunes(config, images, shots)] == expected
        assert steps_of(config) == 4 + len(expected) + 3 + 3 * 2
