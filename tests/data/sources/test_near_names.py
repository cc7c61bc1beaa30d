"""A missing image: what is there instead."""

import os
import unicodedata
import zipfile

import pandas as pd
import pytest
from PIL import Image

from data.sources.near_names import NearNames
from data.sources.row_checks import find_images


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(name), 0, 0)).save(folder / name, "PNG")


THERE = ["images/im_0001.png", "images/IM_0002.JPG", "images/ISIC_3_downsampled.jpg", "images/scan 4.png"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("IM_0001.png", "; there is images/im_0001.png, which differs in case"),
        ("im_0002.jpg", "; there is images/IM_0002.JPG, which differs in case"),
        ("im_0001.tif", "; there is images/im_0001.png, which differs in its ending"),
        ("im_0001.nii", "; there is images/im_0001.png, which differs in its ending"),
        ("im_1", "; there is images/im_0001.png, which differs in leading zeros"),
        ("im_00001.png", "; there is images/im_0001.png, which differs in leading zeros"),
        ("ISIC_3", "; there is images/ISIC_3_downsampled.jpg, whose name is longer"),
        ("ISIC_3.jpg", "; there is images/ISIC_3_downsampled.jpg, whose name is longer"),
        ("im_0001_downsampled.png", "; there is images/im_0001.png, whose name is shorter"),
        ("scan4", "; there is images/scan 4.png, which differs in blanks or invisible characters"),
        ("im_0001\u200b.png", "; there is images/im_0001.png, which differs in blanks or invisible characters"),
        ("/data/old/im_0001.png", "; there is images/im_0001.png, and the row has an absolute path"),
        ("C:\\data\\im_0001.png", "; there is images/im_0001.png, and the row has an absolute path"),
        ("train/im_0001.png", "; there is images/im_0001.png, in another folder"),
        ("train/IM_1.png", "; there is images/im_0001.png, in another folder, which differs in leading zeros"),
        ("im_9", ""),
        ("im", ""),
        ("other", ""),
    ],
)
def test_what_is_there_instead_is_named(tmp_path, name, says):
    assert NearNames(tmp_path, THERE).explain(name)[0] == says


@pytest.mark.parametrize("ending", [".gif", ".jp2", ".heic", ""])
def test_a_file_of_an_ending_that_is_not_read_is_named(tmp_path, ending):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"x{ending}").write_bytes(b"GIF89a")
    for name in ("x", f"x{ending}", "x.jpg"):
        says, fix = NearNames(tmp_path, []).explain(name)
        assert says == f"; there is deep/x{ending}, whose ending is not read"
        assert fix.startswith("export it as JPEG or PNG")


def test_a_zip_that_is_passed_over_is_named_with_the_reason(tmp_path):
    write(tmp_path, "part_1/a.png")
    with zipfile.ZipFile(tmp_path / "part_1.zip", "w") as archive:
        archive.writestr("a.png", b"")
        archive.writestr("sub\\b.png", b"")
    says, fix = NearNames(tmp_path, ["part_1/a.png"]).explain("b")
    assert says == "; it is in part_1.zip, which is not read since the folder part_1 is beside it"
    assert fix == "unpack it whole into part_1, or remove that folder"


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "locked" and allowed(path, mode))
    says, fix = NearNames(tmp_path, []).explain("a")
    assert (says, fix) == ("; locked there cannot be read", "give yourself the right to read that folder")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_either_normal_form_and_below_the_folder_by_a_dot(tmp_path, form):
    write(tmp_path, unicodedata.normalize(form, "näv_1.png"), "images/b.png")
    names = [unicodedata.normalize("NFC", "näv_1"), "./images/b.png"]
    found = find_images(tmp_path, pd.DataFrame({"file": names}, index=[2, 3]), tmp_path, ["."])
    assert [unicodedata.normalize("NFC", path) for path in found] == ["näv_1.png", "images/b.png"]
    names[0] = unicodedata.normalize("NFD", "näv_1")
    assert len(find_images(tmp_path, pd.DataFrame({"file": names}, index=[2, 3]), tmp_path, ["."])) == 2


def test_missing_images_are_grouped_by_their_fix(tmp_path):
    write(tmp_path, "im_0001.png")
    faults = []
    rows = pd.DataFrame({"file": ["im_1", "gone", "IM_0001"]}, index=[2, 3, 4])
    find_images("t.csv", rows, tmp_path, ["."], faults.append)
    assert [(len(fault.examples), fault.fix) for fault in faults] == [
        (2, "write it as the file is called, or rename the file"),
        (1, "add it or remove the row"),
    ]
