import zipfile
from pathlib import Path

import pandas as pd
import pytest

from augment.captions import captions_identity, captions_of
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS, Manifest


def manifest(folder, *paths, **columns):
    ids = [Path(path).stem for path in paths]
    cells = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": paths, "group_id": ids}
    return Manifest(pd.DataFrame({**cells, "root": "r", "label": "mel", "source": "real", **columns}), {"r": folder})


def from_files(part):
    return captions_of(part, "files", "", "")


def test_a_caption_is_the_text_file_beside_its_image_in_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffblue  veil,\r\n rosettes\n", encoding="utf-8")
    (tmp_path / "b.c.txt").write_text("[streaks|dots] and \\(x\\)", encoding="utf-8")
    (tmp_path / "d.txt").write_text(" \n", encoding="utf-8")
    part = manifest(tmp_path, "a.jpg", "b.c.png", "d.jpg", "e.jpg")
    assert from_files(part) == ["blue veil, rosettes", r"\[streaks\|dots\] and \(x\)", "", ""]


def test_captions_are_read_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("in/a.txt", "blue veil")
    assert from_files(manifest(tmp_path, "all.zip/in/a.jpg", "all.zip/in/b.jpg")) == ["blue veil", ""]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"\xff\xfe\x00", r"a\.txt: the caption is not UTF-8 \(.*\); save it as UTF-8"),
        (b"x" * 2_001, r"a\.txt: a caption of 2,001 bytes; shorten it to 2,000 or fewer"),
    ],
)
def test_a_file_that_is_no_caption_is_named(tmp_path, written, message):
    (tmp_path / "a.txt").write_bytes(written)
    with pytest.raises(DataError, match=message) as refused:
        from_files(manifest(tmp_path, "a.jpg"))
    assert "\n" not in str(refused.value)


def test_a_caption_of_the_limit_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 2_000)
    assert from_files(manifest(tmp_path, "a.jpg")) == ["x" * 2_000]


def test_a_column_holds_captions_or_that_nothing_is_known(tmp_path):
    part = manifest(tmp_path, "a.jpg", "b.jpg", "c.jpg", text=["Blue (veil)", "n/a", ""])
    assert captions_of(part, "column", "text", "") == [r"Blue \(veil\)", "", ""]
    with pytest.raises(
        ConfigError, match=r"prompts\.caption_column: the table has no column 'caption'; it has image_id"
    ):
        captions_of(part, "column", "caption", "")
    assert captions_of(part, "none", "caption", "") == ["", "", ""]


def test_what_captions_depend_on_is_their_text_where_the_table_has_it_not(tmp_path):
    part = manifest(tmp_path, "a.jpg")
    without = captions_identity(part, "files", "")
    (tmp_path / "a.txt").write_text("blue veil", encoding="utf-8")
    assert captions_identity(part, "files", "") != without
    assert captions_identity(part, "none", "") == captions_identity(part, "column", "") == {}
    assert captions_identity(part, "blip", str(tmp_path)) == {"captions": None}
