import os
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.files.archives import class_folders
from data.sources.load import DataConfig, load_manifest


def write_images(folder, names):
    for n, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(path)


def test_folders_are_labels(tmp_path, caplog):
    write_images(tmp_path, ["mel/a.jpg", "mel/deep/b.png", "nv/a.jpg", "loose.jpg"])
    manifest = load_manifest(DataConfig(source="folders", folder=str(tmp_path)), tmp_path)
    assert manifest.table["label"].tolist() == ["mel", "mel", "nv"]
    assert manifest.table["image_id"].tolist() == ["mel/a", "mel/deep/b", "nv/a"]
    assert manifest.table["group_id"].is_unique
    assert "1 images lie beside the class folders" in caplog.text
    assert "each image is a group of its own" in caplog.text


def test_an_empty_class_folder_and_no_class_folder_are_refused(tmp_path):
    config = DataConfig(source="folders", folder=str(tmp_path))
    write_images(tmp_path, ["loose.jpg", ".hidden/a.jpg"])
    with pytest.raises(DataError, match="holds no folders; put the images of each class into a folder"):
        load_manifest(config, tmp_path)
    write_images(tmp_path, ["mel/a.jpg", "nv/a.jpg", "nv/a.png"])
    with pytest.raises(DataError, match=r"nv/a\.jpg and nv/a\.png differ in their suffix alone"):
        load_manifest(config, tmp_path)
    (tmp_path / "vasc").mkdir()
    with pytest.raises(DataError, match="vasc: the label has no images; add some or remove the folder"):
        load_manifest(config, tmp_path)


def test_all_faults_of_folders_can_be_had_at_once(tmp_path):
    write_images(tmp_path, ["mel/a.jpg", "mel/a.png", "nv/a.jpg", "nv/a.png", "nv/b.jpg"])
    (tmp_path / "vasc").mkdir()
    (tmp_path / "df").mkdir()
    faults = []
    left = load_manifest(DataConfig(source="folders", folder=str(tmp_path)), tmp_path, on_fault=faults.append)
    assert [str(fault).removeprefix(str(tmp_path)) for fault in faults] == [
        "/df: the label has no images; add some or remove the folder",
        "/vasc: the label has no images; add some or remove the folder",
        ": mel/a.jpg and mel/a.png differ in their suffix alone; rename one (and 1 more)",
    ]
    assert left.table["path"].tolist() == ["mel/a.jpg", "nv/a.jpg", "nv/b.jpg"]


def test_a_folder_with_an_invisible_character_in_its_name_is_refused(tmp_path):
    (tmp_path / "mel\u200b").mkdir()
    with pytest.raises(DataError, match=r"the sub-folder 'mel\\u200b' has a name that is not text; rename it"):
        class_folders(tmp_path)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes UTF-8 names alone")
def test_a_folder_whose_name_is_not_text_is_refused_in_one_line(tmp_path):
    for name in (b"df", b"\xff"):
        (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(DataError, match=r"the sub-folder '\\udcff' has a name that is not text; rename it"):
        class_folders(tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Normal", "normal", "the labels Normal and normal differ in case alone"),
        ("mel", "mel ", "the labels mel and 'mel ' differ in blanks alone"),
        ("basal cell", "basal  cell", "differ in blanks alone"),
        (unicodedata.normalize("NFC", "näv"), unicodedata.normalize("NFD", "näv"), "their Unicode normal form alone"),
    ],
)
def test_class_folders_that_look_alike_are_one_fault(tmp_path, one, other, how):
    if sys.platform == "darwin" and "normal" in how:
        pytest.skip("its file system takes both for one name")
    write_images(tmp_path, [f"{one}/a.jpg", f"{other}/b.jpg", "x/c.jpg"])
    faults = []
    load_manifest(DataConfig(source="folders", folder=str(tmp_path)), tmp_path, on_fault=faults.append)
    assert len(faults) == 1
    assert how in str(faults[0])
    mapped = DataConfig(source="folders", folder=str(tmp_path), label_map={other: one})
    assert load_manifest(mapped, tmp_path).counts() == {one: 2, "x": 1}


def test_a_zip_a_class_is_read_where_no_folder_holds_an_image(tmp_path):
    write_images(tmp_path / "made", ["a.jpg", "b.jpg", "c.jpg"])
    for label, names in {"mel": ["a.jpg"], "nv": ["b.jpg", "c.jpg"]}.items():
        with zipfile.ZipFile(tmp_path / f"{label}.zip", "w") as archive:
            for name in names:
                archive.write(tmp_path / "made" / name, name)
    for path in (tmp_path / "made").iterdir():
        path.unlink()
    (tmp_path / "made").rmdir()
    (tmp_path / "nv").mkdir()  # unpacked to nothing
    config = DataConfig(source="folders", folder=str(tmp_path))
    assert load_manifest(config, tmp_path).table["path"].tolist() == ["mel.zip/a.jpg", "nv.zip/b.jpg", "nv.zip/c.jpg"]


def test_files_of_other_endings_in_class_folders_are_counted_and_named(tmp_path, caplog):
    write_images(tmp_path, ["mel/a.jpg", "nv/b.jpg"])
    for name in ("mel/c.gif", "mel/d", "nv/e.heic"):
        (tmp_path / name).write_bytes(b"x")
    load_manifest(DataConfig(source="folders", folder=str(tmp_path)), tmp_path)
    assert "3 files are not read as images, .gif (1), without an ending (1), .heic (1), first mel/c.gif" in caplog.text
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "f.jp2").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bcc: the label has no images, but 1 files of other endings, first bcc/f.jp2"):
        load_manifest(DataConfig(source="folders", folder=str(tmp_path)), tmp_path)
