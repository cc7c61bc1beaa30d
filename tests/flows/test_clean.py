"""What runs kept of the data set's images is shown and removed; nothing else is, and nothing while a run is at work."""

import sys

import filelock
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig, load_pixels
from data.store import write_json
from flows.clean import main

KEPT = ("one/run.json", "one/thumbs/df/synthetic-0.jpg", "one/arm/real-0/predictions.csv", "cache/contents.json")


@pytest.fixture
def runs(tmp_path):
    """A folder of runs: one with thumbnails and a report, one of two repeats, one without photographs, and a cache."""
    runs = tmp_path / "runs"
    for name in ("one", "many", "none"):
        write_json(runs / name / "plan.json", {})
    for name in (
        "one/report.html", "one/thumbs/df/real-0.jpg", "one/thumbs/df/pair-3-real.jpg",
        "one/thumbs/df/pair-3-synthetic.jpg", "many/report.html", "many/repeats/seed-0/report.html",
        "many/repeats/seed-0/thumbs/nv/real-11.jpg", "none/report.html", *KEPT,
    ):  # fmt: skip
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_bytes(b"x" * 100)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    row = dict.fromkeys(COLUMNS, "") | {"image_id": "a", "path": "a.png", "label": "nv", "group_id": "g", "root": "r"}
    manifest = Manifest(pd.DataFrame([row], dtype=str).assign(source="real"), {"r": tmp_path})
    load_pixels(manifest, PixelConfig(size=8), runs / "cache")
    return runs


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_what_holds_photographs_is_removed_and_all_else_stays(runs, capsys):
    assert main([str(runs), "--yes"]) == 0
    said = capsys.readouterr().out
    assert "decoded photographs: 3 files, 0 kB, e.g. " in said
    assert "thumbnails: 4 files, 0 kB, e.g. " in said
    assert "reports with photographs within: 3 files" in said
    assert files(runs) - {name for name in files(runs) if name.endswith(".lock")} == {
        *KEPT, "one/plan.json", "many/plan.json", "none/plan.json", "none/report.html"
    }  # fmt: skip
    assert not (runs / "cache" / "pixels-8-crop").exists()
    assert main([str(runs), "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("", True), ("y", False)])
def test_the_user_is_asked_after_seeing_what_it_is(runs, monkeypatch, answer, stays):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda asked: answer)
    assert main([str(runs)]) == 0
    assert (runs / "one" / "report.html").exists() is stays


def test_where_nobody_can_be_asked_nothing_is_removed(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    before = files(runs)
    assert main([str(runs)]) == 2
    assert capsys.readouterr().err == "error: nothing was removed, since nobody can be asked here; give --yes\n"
    assert files(runs) >= before


@pytest.mark.parametrize("lock", [".one.lock", "one/arm/.real-1.lock", "cache/pixels-8-crop/lock"])
def test_it_is_refused_while_a_run_or_a_step_is_at_work(runs, lock, capsys):
    before = files(runs)
    with filelock.FileLock(runs / lock):
        assert main([str(runs), "--yes"]) == 2
    assert "a run is at work there" in capsys.readouterr().err
    assert files(runs) >= before


def test_other_files_and_what_is_behind_links_are_never_removed(runs, tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "df").mkdir(parents=True)
    for name in ("df/real-0.jpg", "pixels.bin"):
        (theirs / name).write_bytes(b"x")
    (runs / "none" / "thumbs").symlink_to(theirs)
    (runs / "cache" / "pixels-9-crop").symlink_to(theirs)
    (runs / "one" / "thumbs" / "nv").symlink_to(theirs / "df")
    for name in ("one/thumbs/df/real-photo.jpg", "cache/pixels-8-crop/notes.txt", "theirs/report.html"):
        (runs / name).parent.mkdir(exist_ok=True)
        (runs / name).write_bytes(b"x")
    assert main([str(runs), "--yes"]) == 0
    assert files(theirs) == {"df/real-0.jpg", "pixels.bin"}
    assert {"one/thumbs/df/real-photo.jpg", "cache/pixels-8-crop/notes.txt", "theirs/report.html"} <= files(runs)


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no runs; give the folder of runs, `output_dir`" in capsys.readouterr().err
