"""Thumbnails are found by class and source, and pictures are embedded small."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import InputError
from reports.pictures import THUMBS, picture_uri, take_turns, thumbnails
from reports.run_folder import RunFolder


def test_thumbnails_are_found_by_source(make_run):
    found = thumbnails(RunFolder.open(make_run(external={"theirs": None})), "df")
    assert list(found) == ["real", "synthetic", "theirs"]
    assert found["theirs"] == tuple(f"thumbs/df/arm.theirs.-{i}.jpg" for i in range(3))


def test_pictures_of_several_runs_take_turns(tmp_path):
    one = {"real": ("a", "b", "c"), "synthetic": ()}
    other = {"real": ("d",), "synthetic": tuple(str(i) for i in range(20))}
    shown = take_turns([one, other], [tmp_path / "one", tmp_path / "other"], tmp_path)
    assert [Path(path).as_posix() for path in shown["real"]] == ["one/a", "other/d", "one/b", "one/c"]
    assert len(shown["synthetic"]) == THUMBS


def test_a_large_picture_is_made_smaller_and_a_small_one_left_alone(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    Image.fromarray(noise[:64, :64]).save(tmp_path / "small.jpg")
    assert len(picture_uri(tmp_path / "large.png")) < 40_000
    small = picture_uri(tmp_path / "small.jpg")
    assert base64.b64decode(small.partition(",")[2]) == (tmp_path / "small.jpg").read_bytes()


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png: is no picture that can be read"):
        picture_uri(tmp_path / "a.png")
