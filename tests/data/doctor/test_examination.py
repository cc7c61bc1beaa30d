import numpy as np
import pandas as pd
from PIL import Image

from data.doctor.examination import Look, examine, names, same_bytes
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.sources.load import ROW


def manifest_of(folder, paths, rows=None):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(paths)))
    table = table.assign(image_id=paths, path=paths, group_id=paths, label="nv", root="images", source="real")
    return Manifest(table.assign(**{ROW: rows}) if rows else table, {"images": folder})


def photograph(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def look(paths, folder, rows=None):
    faults = []
    told = []
    left, looks, pixels = examine(
        manifest_of(folder, paths, rows), PixelConfig(), lambda done, total, note="": told.append(done), faults.append
    )
    assert told == list(range(1, len(paths) + 1))
    assert len(left) == len(looks) == len(pixels)
    assert pixels.shape[1:] == (64, 64, 3)
    return left, looks, faults


def test_size_is_told_as_the_image_is_shown_and_coding_in_words(tmp_path):
    upright = photograph(90, 70)
    upright.save(tmp_path / "plain.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=turned)
    upright.convert("RGBA").save(tmp_path / "clear.png")
    Image.new("L", (70, 90), 7).save(tmp_path / "grey.png")
    _, looks, _ = look(["plain.png", "turned.jpg", "clear.png", "grey.png"], tmp_path)
    assert [one.size for one in looks] == [(90, 70), (70, 90), (90, 70), (70, 90)]
    assert [one.kind for one in looks] == ["RGB", "RGB", "RGB with transparency", "greyscale"]
    assert [one.blank for one in looks] == [False, False, False, True]


def test_what_cannot_be_read_is_told_by_mend_with_its_row_and_left_out(tmp_path):
    photograph(90, 70).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    for name in ("b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d.jpg").write_text("no image")
    photograph(90, 70).save(tmp_path / "e.png")
    paths = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.png", "gone.png"]
    left, looks, faults = look(paths, tmp_path, [f"t.csv, row {n}" for n in range(2, 8)])
    assert left.table["path"].tolist() == ["a.jpg", "e.png"]
    assert left.table.index.tolist() == [0, 1]
    assert len({one.sha256 for one in looks}) == 2
    (one, other), gone, strange = sorted((fault.cases for fault in faults), key=len, reverse=True)
    assert one.startswith("b.jpg (row 3): broken image (")
    assert other.startswith("c.jpg (row 4): broken image (")
    unread = "d.jpg (row 5): not an image of a format that is read (JPEG, PNG, TIFF, WEBP, BMP)"
    assert {*gone, *strange} == {unread, "gone.png (row 7): no such image"}
    assert all(fault.mend for fault in faults)


def test_names_are_as_short_as_they_can_be(tmp_path):
    assert names(manifest_of(tmp_path, ["x/a.png", "y/b.png"])) == ["a.png", "b.png"]
    assert names(manifest_of(tmp_path, ["x/a.png", "y/a.png"])) == ["x/a.png", "y/a.png"]
    rows = ["one, two.csv, row 2", "one, two.csv, row 3"]
    assert names(manifest_of(tmp_path, ["x/a.png", "y/b.png"], rows)) == ["a.png (row 2)", "b.png (row 3)"]
    rows = ["one.csv, row 2", "two.csv, row 2"]
    assert names(manifest_of(tmp_path, ["a.png", "b.png"], rows)) == [
        "a.png (one.csv, row 2)",
        "b.png (two.csv, row 2)",
    ]


def test_files_of_the_same_bytes_stand_with_the_first():
    looks = [Look(sha256=name, size=(1, 1), kind="RGB", blank=False) for name in "abacaab"]
    assert same_bytes(looks) == [(0, 2), (0, 4), (0, 5), (1, 6)]
    assert same_bytes([]) == []
