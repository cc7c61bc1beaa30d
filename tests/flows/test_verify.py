"""What is finished is read and compared, byte by byte, where size and times say that nothing has changed."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.manifest import COLUMNS, Manifest, contents_of
from data.pixels import PixelConfig, load_pixels
from data.store import building, finished
from flows import augment_and_evaluate
from flows.study import StudyConfig
from flows.verify import verify_run


def quiet(done, total, note=""):
    """Show no progress."""


def change(path):
    """Change a byte, as a disk may, and leave size and time as they were."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture
def study(tmp_path):
    return StudyConfig(name="one", output_dir=str(tmp_path))


@pytest.fixture
def artefact(study):
    with building(study.folder / "arm" / "real-0", {"a": 1}) as folder:
        for name in ("weights", "table"):
            (folder / name).write_text("42", encoding="utf-8")
    return study.folder / "arm" / "real-0"


def test_a_byte_that_changed_alone_is_found_and_its_artefact_made_anew(study, artefact):
    found = verify_run(study, quiet)
    assert (found.artefacts, found.damaged) == (1, ())
    assert found.outcome.endswith("all as written")
    change(artefact / "weights")
    assert finished(artefact, {"a": 1}), "size and time are trusted without it"
    found = verify_run(study, quiet)
    assert found.damaged == (f"{artefact} (weights)",)
    assert f"not as they were written, made anew: {artefact} (weights)" in found.outcome
    assert not finished(artefact, {"a": 1})


@pytest.mark.parametrize("content", ["", "[1]", '{"files": {"weights": 1}}', '{"files": []}'])
def test_a_damaged_record_is_named_itself(study, artefact, content):
    (artefact / "artifact.json").write_text(content, encoding="utf-8")
    assert verify_run(study, quiet).damaged == (f"{artefact} (artifact.json)",)


def test_an_image_that_changed_alone_is_hashed_and_decoded_anew(study, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.bmp")
    row = dict.fromkeys(COLUMNS, "") | {"image_id": "a", "path": "a.bmp", "label": "nv", "group_id": "g", "root": "r"}
    manifest = Manifest(pd.DataFrame([row], dtype=str).assign(source="real"), {"r": tmp_path})
    monkeypatch.setattr("data.files.archives.stamp_of", lambda path: (1, 2, 3))  # not even ctime tells
    known, pixels = study.cache / "contents.json", PixelConfig(size=8)
    before, black = contents_of(manifest, known), np.array(load_pixels(manifest, pixels, study.cache))
    change(tmp_path / "a.bmp")
    assert contents_of(manifest, known) == before
    assert (load_pixels(manifest, pixels, study.cache) == black).all()
    assert verify_run(study, quiet).damaged == (str(tmp_path / "a.bmp"),)
    assert contents_of(manifest, known) != before
    assert (load_pixels(manifest, pixels, study.cache) != black).any()


def test_the_command_line_asks_for_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(augment_and_evaluate, "_by_hand", lambda *given, verify: asked.append((*given, verify)) or 0)
    for arguments in (["a.yaml", "seeds=[0]", "--verify"], ["a.yaml"]):
        assert augment_and_evaluate.main(arguments) == 0
    assert asked == [("a.yaml", ["seeds=[0]"], True), ("a.yaml", [], False)]
