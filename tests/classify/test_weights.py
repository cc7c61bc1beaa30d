"""Initial weights are identified by their bytes, and held against the split by the record beside them."""

import pandas as pd
import pytest

from classify.weights import (
    refuse_weights,
    weights_identity,
    weights_name,
    weights_provenance,
    write_model_provenance,
)
from data.errors import BaseError, DataError
from data.manifest import COLUMNS, Manifest
from data.splits.provenance import Provenance
from data.splits.split import Split
from data.store import file_sha256, read_json


def part(name, folder):
    ids = [f"{name}{n}" for n in range(4)]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "label": ["df", "df", "nv", "nv"]}
    table = pd.DataFrame({**columns, "group_id": [f"g-{one}" for one in ids], "lesion_id": [f"l-{one}" for one in ids]})
    return Manifest(table.assign(root="r", source="real"), {"r": folder})


@pytest.fixture
def parts(tmp_path):
    return {name: part(name, tmp_path) for name in "abcde"}


def keep(folder, train, validation, weights="none", **more):
    seen = Provenance.of(train) | Provenance(**more)
    write_model_provenance(folder, provenance=seen, train=train, validation=validation, weights=weights)


@pytest.fixture
def model(tmp_path, parts):
    """A classifier of another study, trained on `a` and chosen by `b`."""
    folder = tmp_path / "theirs" / "model"
    keep(folder, parts["a"], parts["b"])
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_weights_of_the_lite0_package_are_identified_by_their_bytes_and_missed_before_anything_runs(
    monkeypatch, tmp_path
):
    file = tmp_path / "lite0.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr("classify.weights.lite0_file", lambda: file)
    assert weights_identity("lite0-package") == file_sha256(file)
    assert weights_identity("none") == "none"
    monkeypatch.undo()
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(BaseError, match="is not installed"):
        weights_identity("lite0-package")


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_trained_on_evaluation_images_are_refused_by_folder_and_by_file(model, parts, name):
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


def test_a_classifier_that_was_initialised_from_another_names_who_chose_that_one_too(model, parts, tmp_path):
    keep(tmp_path / "second", parts["c"], parts["d"], weights=str(model))
    chosen_by = Provenance.from_record(read_json(tmp_path / "second" / "training.json")["chosen_by"])
    assert chosen_by == Provenance.of(parts["b"]) | Provenance.of(parts["d"])


def test_weights_of_any_other_origin_have_seen_what_nobody_knows(tmp_path, monkeypatch, model):
    monkeypatch.chdir(model)  # where a training.json lies
    (tmp_path / "training.json").write_text("[1]")
    for source in ("nowhere.pth", str(tmp_path)):
        assert weights_provenance(source, "efficientnet_b0") == Provenance.unknown()
        assert weights_name(source, "efficientnet_b0") == source


def test_weights_of_imagenet_have_seen_none_of_a_study_and_scratch_has_none(model, parts):
    assert weights_provenance("none", "efficientnet_b0") is None
    assert weights_provenance("lite0-package", "tf_efficientnet_lite0") == Provenance()
    assert weights_name("lite0-package", "tf_efficientnet_lite0") == "ImageNet-1k"
    assert weights_provenance("phantoms", "efficientnet_b0") == Provenance()
    assert weights_name("phantoms", "efficientnet_b0") == "phantoms"
    assert weights_provenance(str(model), "efficientnet_b0") == Provenance.of(parts["a"])


def test_weights_of_a_lineage_that_is_not_known_in_full_say_so(parts, tmp_path):
    keep(tmp_path / "model", parts["a"], parts["b"], is_complete=False)
    assert not weights_provenance(str(tmp_path / "model"), "efficientnet_b0").is_complete
