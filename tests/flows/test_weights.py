"""What the classifiers begin with is told apart by its bytes, and held against the split by its record."""

import dataclasses

import pandas as pd
import pytest

from augment.base.config import known_in_full
from data.errors import BaseError, DataError
from data.manifest import COLUMNS, Manifest
from data.splits.provenance import SeenIds
from data.splits.split import Split
from data.store import file_sha256
from flows.ledger import seen_by_all
from flows.study import StudyConfig
from flows.weights import leave_record, refuse_weights, weights_identity, weights_record


def part(name, folder):
    ids = [f"{name}{n}" for n in range(4)]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "label": ["df", "df", "nv", "nv"]}
    table = pd.DataFrame({**columns, "group_id": [f"g-{one}" for one in ids], "lesion_id": [f"l-{one}" for one in ids]})
    return Manifest(table.assign(root="r", source="real"), {"r": folder})


@pytest.fixture
def parts(tmp_path):
    return {name: part(name, tmp_path) for name in "abcde"}


@pytest.fixture
def model(tmp_path, parts):
    """A classifier of another study, trained on `a` and chosen by `b`."""
    folder = tmp_path / "theirs" / "model"
    leave_record(folder, SeenIds.of(parts["a"]), parts["a"], parts["b"], "none", known=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_stand_in_s_weights_are_identified_by_their_bytes_and_missed_before_anything_runs(monkeypatch, tmp_path):
    file = tmp_path / "lite0.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr("flows.weights.stand_in_file", lambda: file)
    assert weights_identity("stand-in") == file_sha256(file)
    assert weights_identity("none") == "none"
    monkeypatch.undo()
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(BaseError, match="is not installed"):
        weights_identity("stand-in")


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_that_were_trained_on_what_judges_are_refused_by_folder_and_by_file(model, parts, name):
    refuse_weights(str(model / name), Split(parts["a"], parts["b"], parts["c"]))
    for judging, where in (("cab", "validation"), ("cda", "test")):
        with pytest.raises(
            DataError, match=rf"^classifier\.weights .*model.* has seen 4 leakage groups of the {where}"
        ):
            refuse_weights(str(model / name), Split(*(parts[letter] for letter in judging)))


def test_weights_of_another_study_are_known_by_lesion_where_its_groups_are_called_otherwise(model, parts):
    renamed = Manifest(parts["a"].table.assign(group_id=list("wxyz"), image_id=list("wxyz")), parts["a"].roots)
    with pytest.raises(DataError, match=r"has seen 4 leakage groups of the test part, first \['w', 'x', 'y'\]"):
        refuse_weights(str(model), Split(parts["c"], parts["d"], renamed))


def test_weights_that_the_test_part_has_chosen_are_refused_and_those_that_validation_has_are_not(model, parts):
    refuse_weights(str(model), Split(parts["c"], parts["b"], parts["d"]))
    with pytest.raises(DataError, match=r"the choice of classifier\.weights .* has seen 4 leakage groups of the test"):
        refuse_weights(str(model), Split(parts["c"], parts["d"], parts["b"]))


def test_a_classifier_that_was_begun_with_another_tells_who_chose_that_one_too(model, parts, tmp_path):
    leave_record(tmp_path / "second", SeenIds.of(parts["c"]), parts["c"], parts["d"], str(model), known=True)
    chosen_by = SeenIds.told(weights_record(str(tmp_path / "second"))["chosen_by"])
    assert chosen_by == SeenIds.of(parts["b"]) | SeenIds.of(parts["d"])


def test_weights_of_any_other_origin_have_no_record(tmp_path, monkeypatch, model):
    monkeypatch.chdir(model)  # where a training.json lies
    for source in ("none", "pretrained", "stand-in", "nowhere.pth", str(tmp_path)):
        assert weights_record(source) == {}
    (tmp_path / "training.json").write_text("[1]")
    assert weights_record(str(tmp_path)) == {}


def test_the_ledger_tells_what_the_first_weights_have_seen(model, parts, tmp_path):
    split = Split(parts["a"], parts["d"], parts["e"])
    config = StudyConfig(arms=("real",), seeds=(0,), runs=str(tmp_path))
    config = dataclasses.replace(config, classifier=dataclasses.replace(config.classifier, weights=str(model)))
    weights, classifier, *_ = seen_by_all(config, split, split.train, {}, {})
    assert weights.row(split).items() >= {"kind": "weights", "known": True, "train": 4, "test": 0}.items()
    assert (classifier.name, classifier.known) == ("real", True)
    leave_record(model, SeenIds.of(parts["a"]), parts["a"], parts["b"], "none", known=False)
    assert not known_in_full(weights_record(str(model)))
    assert not any(one.known for one in seen_by_all(config, split, split.train, {}, {})[:2])
