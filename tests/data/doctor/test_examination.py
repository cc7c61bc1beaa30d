import numpy as np
import pandas as pd
from PIL import Image

from data.doctor.examination import ImageInfo, names, read_infos, same_bytes
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.sources.load import ROW


def manifest_of(folder, paths, rows=None):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(paths)))
    table = table.assign(image_id=paths, path=paths, group_id=paths, label="nv", root="images", source="real")
    return Manifest(table.assign(**{ROW: rows}) if rows else table, {"images": folder})


def photograph(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def read(paths, folder, rows=None):
    faults = []
    calls = []
    readable, infos, pixels = read_infos(
        manifest_of(folder, paths, rows), PixelConfig(), lambda done, total, note="": calls.append(done), faults.append
    )
    assert calls == list(range(1, len(paths) + 1))
    assert len(readable) == len(infos) == len(pixels)
    assert pixels.shape[1:] == (64, 64, 3)
    return readable, infos, faults


def test_size_is_that_of_the_upright_image_and_the_mode_is_in_words(tmp_path):
    upright = photograph(90, 70)
    upright.save(tmp_path / "plain.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=turned)
    upright.convert("RGBA").save(tmp_path / "clear.png")
    Image.new("L", (70, 90), 7).save(tmp_path / "grey.png")
    _, infos, _ = read(["plain.png", "turned.jpg", "clear.png", "grey.png"], tmp_path)
    assert [one.size for one in infos] == [(90, 70), (70, 90), (90, 70), (70, 90)]
    assert [one.mode for one in infos] == ["RGB", "RGB", "RGB with transparency", "greyscale"]
    assert [one.blank for one in infos] == [False, False, False, True]


def test_what_cannot_be_read_is_reported_by_fix_with_its_row_and_left_out(tmp_path):
    photograph(90, 70).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    for name in ("b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d.jpg").write_text("no image")
    photograph(90, 70).save(tmp_path / "e.png")
    paths = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.png", "gone.png"]
    readable, infos, faults = read(paths, tmp_path, [f"t.csv, row {n}" for n in range(2, 8)])
    assert readable.table["path"].tolist() == ["a.jpg", "e.png"]
    assert readable.table.index.tolist() == [0, 1]
    assert len({one.sha256 for one in infos}) == 2
    (one, other), gone, text = sorted((fault.examples for fault in faults), key=len, reverse=True)
    assert one.startswith("b.jpg (row 3): broken image (")
    assert other.startswith("c.jpg (row 4): broken image (")
    unread = "d.jpg (row 5): not an image of a format that is read (JPEG, PNG, TIFF, WEBP, BMP)"
    assert {*gone, *text} == {unread, "gone.png (row 7): no such image"}
    assert all(fault.fix for fault in faults)


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
    infos = [ImageInfo(sha256=name, size=(1, 1), mode="RGB", blank=False) for name in "abacaab"]
    assert same_bytes(infos) == [(0, 2), (0, 4), (0, 5), (1, 6)]
    assert same_bytes([]) == []


def test_no_image_has_no_name(tmp_path):
    one = manifest_of(tmp_path, ["a.jpg"], rows=["t.csv, row 2"])
    assert names(one) == ["a.jpg (row 2)"]
    assert names(one.where(one.table["path"] == "")) == []
