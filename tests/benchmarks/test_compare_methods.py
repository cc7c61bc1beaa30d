"""All methods of fine-tuning compared on a study of seconds, and the table's figures by hand."""

import compare_methods
import compare_methods_data
import numpy as np
import pytest
from compare_methods import BASE, WAYS
from PIL import Image

from augment.methods.table import METHODS
from data.store import read_json
from flows.study import load_study


def test_every_method_has_a_row():
    assert {way.method for way in WAYS.values()} == set(METHODS)


def test_ways_share_steps_and_batch_and_an_unknown_one_is_refused(capsys):
    study = load_study("configs/demo.yaml", ["finetune.steps=7", "finetune.batch_size=3"])
    settings = [way.applied_to(study).finetune for way in WAYS.values()]
    assert {(each.steps, each.batch_size) for each in settings} == {(7, 3)}
    assert compare_methods.main(["--methods", "lora,magic"]) == 2
    assert "--methods some of lora, dreambooth" in capsys.readouterr().err


@pytest.mark.slow
def test_methods_are_trained_drawn_measured_and_shown_beside_the_base_and_photographs(study, capsys):
    command = ["--images", "12", "--methods", "lora,textual-inversion", *study, "generate.steps=2"]
    assert compare_methods.main(command) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert rows == ["method", BASE, "lora", "textual-inversion", "oversampled, no synthetic images"]
    folder = load_study("configs/demo.yaml", study).folder.with_name("demo-quality") / "methods"
    kept = read_json(folder / "methods.json")["images"]
    assert [row["name"] for row in kept] == [BASE, "lora", "textual-inversion"]
    assert kept[0]["seconds"] is None
    lora, inversion = kept[1:]
    assert lora["size"] > inversion["size"] > 0  # of two words
    assert {row["recognised"]["n"] for row in kept} == {12}
    sheet = np.asarray(Image.open(folder / "df.png"))
    assert sheet.shape[0] == 4 * 64  # photographs, the base and both methods
    assert compare_methods.main(command) == 0  # from what is kept
    assert capsys.readouterr().out == printed


def test_photographs_are_compared_with_those_of_the_train_part_that_no_generator_saw(study, monkeypatch):
    monkeypatch.setattr(compare_methods_data, "imagenet_features", lambda pixels: None)
    config = load_study("configs/demo.yaml", study)
    data = compare_methods_data.photographs(config, 5)
    split, shots = data.prepared.split, data.prepared.shots["df"].table["group_id"]
    groups = set(data.real["df"].table["group_id"])
    assert groups
    assert groups <= set(split.train.table["group_id"]) - set(shots)
    assert not data.classifies
    assert data.prepared.synthetic_counts == {"df": 5}
