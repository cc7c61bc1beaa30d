"""A zip is read as the folder that it would unpack to, and refused in one line if it is broken."""

import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.errors import DataError
from data.files.archives import image_files, is_file, open_file, same_bytes, sha256_of, stamp_of
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig, load_pixels, read_image
from data.store import file_sha256

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """The same three images in a folder and, under `zipped`, in a zip of that folder's name."""
    (tmp_path / "plain" / "part").mkdir(parents=True)
    (tmp_path / "zipped").mkdir()
    for n in range(3):
        Image.fromarray(np.roll(NOISE, n, axis=0)).save(tmp_path / "plain" / "part" / f"{n}.png")
    pack(tmp_path / "zipped" / "part.zip", (tmp_path / "plain" / "part").iterdir())
    return tmp_path


def pack(archive, files, prefix="", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(archive, "w", compression) as out:
        for file in files:
            out.write(file, prefix + file.name)


def manifest_of(folder, paths):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(paths)))
    table["image_id"] = table["group_id"] = table["path"] = paths
    return Manifest(table.assign(label="nv", root="images", source="real"), {"images": folder})


def test_a_zip_lists_opens_and_hashes_as_its_folder_would(folder):
    plain, zipped = image_files(folder / "plain"), image_files(folder / "zipped")
    assert [path.relative_to(folder / "zipped").as_posix() for path in zipped] == [
        f"part.zip/{n}.png" for n in range(3)
    ]
    assert image_files(folder / "zipped" / "part.zip") == zipped
    for one, other in zip(plain, zipped, strict=True):
        assert open_file(other).read() == one.read_bytes()
        assert sha256_of(other) == sha256_of(one) == file_sha256(one)
        assert stamp_of(other)[0] == stamp_of(one)[0] == one.stat().st_size
        assert is_file(other)
        assert same_bytes(one, other)
    assert not same_bytes(plain[0], zipped[1])
    assert not is_file(folder / "zipped" / "part.zip" / "9.png")


def test_images_in_a_zip_decode_and_are_cached_as_files_are(folder, monkeypatch):
    config = PixelConfig(size=16)
    paths = [f"part.zip/{n}.png" for n in range(3)]
    plain = load_pixels(manifest_of(folder / "plain", [p.replace(".zip", "") for p in paths]), config)
    zipped = manifest_of(folder / "zipped", paths)
    assert (load_pixels(zipped, config, folder / "cache") == plain).all()
    monkeypatch.setattr("data.pixels.read_image", None)
    assert (load_pixels(zipped, config, folder / "cache") == plain).all(), "from the cache"


def test_a_zip_that_changed_is_read_anew(folder):
    archive = folder / "zipped" / "part.zip"
    before = stamp_of(archive / "0.png"), sha256_of(archive / "0.png")
    Image.fromarray(255 - NOISE).save(folder / "0.png")
    pack(archive, [folder / "0.png"])
    assert stamp_of(archive / "0.png") != before[0]
    assert sha256_of(archive / "0.png") != before[1] == sha256_of(folder / "plain" / "part" / "0.png")


def test_a_zip_beside_the_folder_that_it_was_unpacked_to_is_passed_over(folder):
    pack(folder / "plain" / "part.zip", (folder / "plain" / "part").iterdir())
    assert len(image_files(folder / "plain")) == 3


def test_hidden_members_and_other_files_of_a_zip_are_no_images(folder):
    with zipfile.ZipFile(folder / "zipped" / "part.zip", "a") as out:
        for name in ("__MACOSX/._0.png", ".cache/0.png", "LICENSE.txt"):
            out.writestr(name, b"")
        out.mkdir("empty.png")
    assert len(image_files(folder / "zipped")) == 3


def test_a_folder_named_like_a_zip_is_a_folder(folder):
    (folder / "plain" / "part").rename(folder / "plain" / "part.zip")
    assert len(image_files(folder / "plain")) == 3
    assert sha256_of(folder / "plain" / "part.zip" / "0.png") == sha256_of(folder / "zipped" / "part.zip" / "0.png")


def test_a_zip_whose_directory_is_spoilt_gets_one_line(folder):
    archive = folder / "zipped" / "part.zip"
    whole = archive.read_bytes()
    entry = whole.index(b"PK\1\2")
    archive.write_bytes(whole[: entry + 6] + b"\xff" + whole[entry + 7 :])  # of a version that there is not
    with pytest.raises(DataError, match=r"part\.zip: broken or cut short .*zip file version.*; download the zip anew"):
        image_files(folder / "zipped")


def test_a_truncated_zip_gets_one_line(folder):
    archive = folder / "zipped" / "part.zip"
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"part\.zip: broken or cut short at [\d,]+ bytes .*; download the zip anew"):
        image_files(folder / "zipped")


def test_damage_inside_a_zip_names_the_image(folder):
    archive = folder / "zipped" / "part.zip"
    with zipfile.ZipFile(archive) as whole:
        at = whole.getinfo("1.png").header_offset + 300
    damaged = bytearray(archive.read_bytes())
    damaged[at : at + 8] = b"\0" * 8
    archive.write_bytes(damaged)
    read_image(archive / "0.png", PixelConfig(size=16))
    with pytest.raises(DataError, match=r"part\.zip: 1\.png is broken in it .*; download the zip anew") as refused:
        read_image(archive / "1.png", PixelConfig(size=16))
    assert "\n" not in str(refused.value)


def test_a_missing_member_is_named_as_a_missing_image_is(folder):
    config = PixelConfig(size=16)
    for cache in (None, folder / "cache"):
        with pytest.raises(DataError, match=r"part\.zip/9\.png: no such image"):
            load_pixels(manifest_of(folder / "zipped", ["part.zip/9.png"]), config, cache)


def test_an_image_in_a_zip_that_would_start_a_program_is_refused_and_starts_none(folder, eps):
    archive = folder / "zipped" / "part.zip"
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr("scan.jpg", eps)
    refused = r"part\.zip/scan\.jpg: not an image of a format that is read \(JPEG, .*\); export it again"
    for cache in (None, folder / "cache"):
        with pytest.raises(DataError, match=refused):
            load_pixels(manifest_of(folder / "zipped", ["part.zip/scan.jpg"]), PixelConfig(size=16), cache)


def test_a_zip_that_python_cannot_unpack_says_so(folder):
    archive = folder / "zipped" / "part.zip"
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as whole:
        entry = whole.getinfo("0.png").header_offset
        directory = whole.start_dir
    content[entry + 6] |= 1  # the flag of a password
    content[directory + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"part\.zip: 0\.png cannot be read in place .*password.*; unpack to part"):
        read_image(archive / "0.png", PixelConfig(size=16))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(DataError, match=f"{name}: is a folder, a pipe or a device"):
            open_file(tmp_path / name)


@pytest.mark.parametrize("name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg"])
def test_a_member_that_leads_out_of_its_zip_is_refused_by_name(folder, name):
    archive = folder / "zipped" / "part.zip"
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr(name, b"x")
    with pytest.raises(DataError, match=rf"part\.zip: its member '{name}' leads out of it; make the zip anew"):
        image_files(folder / "zipped")


def test_backslashes_in_a_zip_are_separators(tmp_path):
    with zipfile.ZipFile(tmp_path / "part.zip", "w") as archive:
        for name in ("part\\a.png", "part\\deep\\b.png", "c.png", "part\\"):
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, name)
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == ["part.zip/c.png", "part.zip/part/a.png", "part.zip/part/deep/b.png"]
    assert open_file(tmp_path / "part.zip/part/deep/b.png").read() == b"part\\deep\\b.png"


def test_a_zip_beside_an_empty_folder_of_its_name_is_read(folder):
    (folder / "zipped" / "part").mkdir()
    assert len(image_files(folder / "zipped")) == 3
    (folder / "zipped" / "part" / "readme.md").write_text("no image")
    assert len(image_files(folder / "zipped")) == 3
    (folder / "zipped" / "part" / "0.png").write_bytes((folder / "plain" / "part" / "0.png").read_bytes())
    assert [path.name for path in image_files(folder / "zipped")] == ["0.png"]


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".Jfif"])
def test_other_endings_of_jpeg_are_read(tmp_path, ending):
    Image.fromarray(NOISE).save(tmp_path / f"a{ending}", "JPEG")
    assert [path.name for path in image_files(tmp_path)] == [f"a{ending}"]
    assert read_image(tmp_path / f"a{ending}", PixelConfig(size=16)).shape == (16, 16, 3)
