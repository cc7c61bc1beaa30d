"""What a classifier was trained on comes back as it was written, and nothing else passes for it."""

import json

import pytest

from classify.record import FILE, ArmRecord

RECORD = ArmRecord(
    arm="real",
    seed=1,
    labels=("df", "nv"),
    best_step=4,
    validation_balanced_accuracy=0.75,
    images={"train": {"df": {"real": 8, "repeated": 0, "synthetic": 0}}},
    steps=6,
    samples=48,
    seconds=1.5,
    config={"model": "test_efficientnet"},
)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    RECORD.write(tmp_path)
    assert ArmRecord.read(tmp_path) == RECORD


@pytest.mark.parametrize("change", [lambda kept: kept.pop("labels"), lambda kept: kept.update(other=1)])
def test_what_lacks_an_entry_or_has_another_is_no_record(tmp_path, change):
    RECORD.write(tmp_path)
    kept = json.loads((tmp_path / FILE).read_text())
    change(kept)
    (tmp_path / FILE).write_text(json.dumps(kept))
    with pytest.raises((KeyError, TypeError)):
        ArmRecord.read(tmp_path)


def test_a_folder_without_a_record_or_with_a_torn_one_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        ArmRecord.read(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ValueError, match="Expecting property name"):
        ArmRecord.read(tmp_path)
