import os
import sys

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


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes UTF-8 names alone")
def test_a_folder_whose_name_is_not_text_is_refused_in_one_line(tmp_path):
    for name in (b"df", b"\xff"):
        (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(DataError, match=r"the sub-folder '\\udcff' has a name that is not text; rename it"):
        class_folders(tmp_path)
