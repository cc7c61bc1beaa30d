import dataclasses
import subprocess
import sys

import pytest

from augment.generate.record import FILE, GeneratedImages
from data.errors import DataError
from data.splits.provenance import Provenance
from data.store import read_json, write_json

RECORD = GeneratedImages(
    label="df",
    prompt="dermoscopy of a dermatofibroma",
    adapter="a" * 64,
    base={"source": "tiny", "sha256": "b" * 64},
    seed=7,
    size=64,
    batch_size=4,
    sampler="dpmsolver++2m",
    settings={"preset": "quality", "steps": 20, "guidance_scale": 2.0},
    attributes={"images": 3, "sha256": "c" * 64},
    provenance=Provenance(group_ids=frozenset({"g2", "g1"})),
)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    RECORD.write(tmp_path)
    assert GeneratedImages.read(tmp_path) == RECORD
    assert read_json(tmp_path / FILE)["provenance"] == {
        "group_ids": ["g1", "g2"],
        "image_ids": [],
        "lesion_ids": [],
        "patient_ids": [],
        "is_complete": True,
    }


@pytest.mark.parametrize("change", [lambda record: record.pop("seed"), lambda record: record.update(sead=1)])
def test_a_record_that_lacks_a_field_or_has_another_is_refused(tmp_path, change):
    record = RECORD.to_record()
    change(record)
    write_json(tmp_path / FILE, record)
    with pytest.raises(DataError, match=r"generation\.json: no record of generated images"):
        GeneratedImages.read(tmp_path)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"generation\.json: no record of generated images"):
        GeneratedImages.read(tmp_path)


@pytest.mark.parametrize("damaged", [b"", b'{"label": "df', b"\xff\xfe"])
def test_a_damaged_record_is_named_as_that(tmp_path, damaged):
    (tmp_path / FILE).write_bytes(damaged)
    with pytest.raises(DataError, match=r"generation\.json: is damaged \(.*\); delete its folder and generate again"):
        GeneratedImages.read(tmp_path)


def test_each_field_is_part_of_the_digest():
    others = [dataclasses.replace(RECORD, seed=8), dataclasses.replace(RECORD, provenance=Provenance.unknown())]
    assert len({record.digest() for record in (RECORD, *others)}) == 3


def test_reading_a_record_needs_no_torch():
    code = "import sys, augment.generate.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_that_the_adapter_was_stopped_is_read_again_and_is_another_record(tmp_path):
    stopped = dataclasses.replace(RECORD, stopped={"step": 3, "of": 5})
    stopped.write(tmp_path)
    assert GeneratedImages.read(tmp_path) == stopped
    assert stopped.digest() != RECORD.digest()
    assert "stopped" not in RECORD.to_record()
