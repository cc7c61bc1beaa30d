import dataclasses
import subprocess
import sys

import pytest

from augment.methods.lora import LoraConfig
from augment.methods.record import RECORD, AdapterRecord, HeldOutRecord, Stopped
from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import read_json, write_json


@pytest.fixture
def folder(tmp_path, write_adapter_record):
    write_adapter_record(tmp_path, LoraConfig(rank=2), {"source": "tiny"})
    return tmp_path


def test_what_was_written_is_read_again(folder):
    record = AdapterRecord.read(folder)
    assert record.method == "lora"
    assert record.config["rank"] == 2
    assert record.provenance.image_ids == {"a.png"}
    assert record.provenance.is_complete
    assert read_json(folder / RECORD)["provenance"]["image_ids"] == ["a.png"]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_without_a_finished_adapter_is_refused(folder, content):
    (folder / RECORD).unlink()
    if content is not None:
        (folder / RECORD).write_text(content)
    with pytest.raises(BaseError, match="no finished adapter"):
        AdapterRecord.read(folder)


def test_an_unknown_or_missing_key_is_refused(folder):
    values = read_json(folder / RECORD)
    write_json(folder / RECORD, {**values, "shots": {}})
    with pytest.raises(BaseError, match="no finished adapter"):
        AdapterRecord.read(folder)
    del values["prompt"]
    write_json(folder / RECORD, values)
    with pytest.raises(BaseError, match="no finished adapter"):
        AdapterRecord.read(folder)


def test_the_record_is_read_without_torch():
    code = "import sys, augment.methods.record; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_record_may_have_is_read_again_and_else_leaves_no_trace(folder):
    record = AdapterRecord.read(folder)
    assert not {"held_out", "stopped", "chosen"} & read_json(folder / RECORD).keys()
    seen = Provenance(image_ids=frozenset({"b.png"}))
    more = dataclasses.replace(
        record, stopped=Stopped(step=3, of=5), held_out=HeldOutRecord(loss=0.5, photographs=8, origin="o", seen=seen)
    )
    more.write(folder)
    assert AdapterRecord.read(folder) == more
    assert more.seen.image_ids == {"a.png", "b.png"}
    assert dataclasses.replace(more, stopped=None).seen == record.seen


def test_a_damaged_record_of_a_stop_is_refused(folder):
    write_json(folder / RECORD, {**read_json(folder / RECORD), "stopped": {"step": 3}})
    with pytest.raises(BaseError, match="no finished adapter"):
        AdapterRecord.read(folder)


def test_the_weights_are_put_on_disk_before_the_record_that_stands_for_them(folder, monkeypatch):
    record, seen = AdapterRecord.read(folder), []
    (folder / RECORD).unlink()
    monkeypatch.setattr("augment.methods.record.sync_all", lambda path: seen.append(list(path.iterdir())))
    record.write(folder)
    assert seen == [[]]
    assert AdapterRecord.read(folder) == record
