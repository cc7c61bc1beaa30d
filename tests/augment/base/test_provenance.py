"""What a base was trained on is read from its record, and unknown without one."""

import json
from pathlib import Path

import pytest

from augment.base.config import BaseConfig, OwnBaseConfig
from augment.base.provenance import BaseRecord, base_provenance, base_training_record
from data.manifest import Manifest
from data.splits.provenance import Provenance


@pytest.fixture
def part(shots: dict[str, Manifest]) -> Manifest:
    return Manifest.concat(*shots.values())


def test_the_embedded_base_has_seen_no_image_of_any_study():
    assert base_provenance(BaseConfig()) == Provenance()
    record = base_training_record(BaseConfig())
    assert record["images"] == 20000
    assert record["groups"] == "drawn by a program, none of a study's"


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"learning_rate": 0.1}', '{"images": 3, "before": {}}'])
def test_without_a_base_record_its_training_is_unknown(tmp_path: Path, text: str):
    if text:
        (tmp_path / "training.json").write_text(text)
    base = BaseConfig(source=str(tmp_path))
    assert base_provenance(base) == Provenance.unknown()
    assert base_training_record(base) == {}
    assert base_training_record(BaseConfig(source="owner/name")) == {}


def test_a_record_is_read_as_it_was_written(part: Manifest, tmp_path: Path):
    record = BaseRecord.of(part, BaseConfig())
    record.write(tmp_path)
    assert BaseRecord.read(tmp_path) == record
    written = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert written["provenance"] == Provenance.of(part).to_record()


def test_a_continued_base_has_the_provenance_of_its_parent_too(part: Manifest, tmp_path: Path):
    BaseRecord.of(part.of("df"), None).write(tmp_path)
    record = BaseRecord.of(part.of("vasc"), BaseConfig(source=str(tmp_path)))
    assert record.provenance == Provenance.of(part)
    assert record.summary() == {
        "images": 5,
        "by_class": {"vasc": 5},
        "groups": 10,
        "part": "train",
        "before": {"images": 5, "by_class": {"df": 5}, "groups": 5, "part": "train"},
    }


def test_what_is_continued_from_an_unknown_base_is_not_complete(part: Manifest):
    record = BaseRecord.of(part, BaseConfig(source="owner/name"))
    assert not record.provenance.is_complete
    assert record.summary()["before"] == {}


def test_a_base_that_is_not_trained_yet_has_the_provenance_of_its_parent():
    scratch = OwnBaseConfig(init_from="scratch", autoencoder={})
    assert base_provenance(BaseConfig(source="pretrain", pretrain=scratch)) == Provenance()
    own = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(init_from="owner/name"))
    assert base_provenance(own) == Provenance.unknown()
