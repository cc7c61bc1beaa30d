"""What is too large for the memory is refused in one line before it is unpacked or decoded."""

import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.files.archives import open_file, sha256_of
from data.files.images import read_header, read_rgb
from data.files.rules import FileRules, rules, use_rules
from data.manifest import read_table
from data.sources.load import DataConfig, load_manifest

PIXELS = r"a\.png: has 64 x 48 pixels and would fill the memory: more than data\.max_image_pixels, 3,071; export it"
BYTES = r"has [\d,]+ bytes and would fill the memory: more than data\.max_file_bytes, 1,000; save it smaller, or raise"


@pytest.fixture
def limits():
    """Sets limits for one test."""
    before = rules(), Image.MAX_IMAGE_PIXELS
    yield lambda **given: use_rules(FileRules(**given))
    use_rules(before[0])
    Image.MAX_IMAGE_PIXELS = before[1]


@pytest.fixture
def picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def bomb(side):
    """A PNG of so many squared white pixels, in a thousandth of their bytes."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])  # one bit, grey
    rows = zlib.compress((b"\0" + b"\xff" * ((side + 7) // 8)) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_an_image_of_too_many_pixels_is_refused_with_the_reason_and_the_setting(picture, limits):
    limits(max_image_pixels=64 * 48)
    assert read_rgb(picture, 16).size == (64, 48)
    limits(max_image_pixels=64 * 48 - 1)
    for read in (read_header, lambda path: read_rgb(path, 16)):
        with pytest.raises(DataError, match=PIXELS):
            read(picture)


def test_far_too_many_pixels_are_refused_in_the_same_words(picture, limits):
    limits(max_image_pixels=100)
    with pytest.raises(DataError, match=r"has over 200 pixels and would .* data\.max_image_pixels, 100; export it"):
        read_rgb(picture, 16)


def test_a_limit_may_be_raised_above_pillows_own(picture, limits, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    limits(max_image_pixels=10_000)
    assert read_rgb(picture, 16).size == (64, 48)


def test_a_file_or_a_members_unpacked_bytes_are_limited(tmp_path, picture, limits):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as out:
        out.write(picture, "a.png")
        out.writestr("small.csv", "a,b\n1,2\n")
    (tmp_path / "table.csv").write_text("a,b\n" + "1,2\n" * 1000, encoding="utf-8")
    limits(max_file_bytes=1000)
    for path, read in ((picture, lambda path: read_rgb(path, 16)), (tmp_path / "table.csv", read_table)):
        with pytest.raises(DataError, match=BYTES):
            read(path)
    with pytest.raises(DataError, match=rf"all\.zip/a\.png: {BYTES}"):
        open_file(tmp_path / "all.zip" / "a.png")
    assert len(read_table(tmp_path / "all.zip" / "small.csv")) == 1


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_larger_than_its_entry_says_is_not_unpacked_further(tmp_path, packed):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", packed) as out:
        out.writestr("a.png", bytes(30_000_000))
    content = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        start = content.index(mark) + at
        content[start : start + 4] = (1000).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"all\.zip: a\.png is broken in it"):
        sha256_of(archive / "a.png")


def test_the_config_sets_the_limits(tmp_path, picture, limits):
    del limits
    for label in ("nv", "mel"):
        (tmp_path / label).mkdir()
        picture.with_name(f"{label}.png").write_bytes(picture.read_bytes())
        picture.with_name(f"{label}.png").rename(tmp_path / label / f"{label}.png")
    load_manifest(DataConfig(source="folders", folder=str(tmp_path), max_image_pixels=3071), tmp_path)
    with pytest.raises(DataError, match=PIXELS):
        read_rgb(picture, 16)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is measured as Linux counts it")
@pytest.mark.parametrize("side", [13_000, 60_000])
def test_a_bomb_takes_no_memory(tmp_path, side):
    """In a process of its own, whose peak tells what was allocated."""
    (tmp_path / "a.png").write_bytes(bomb(side))
    program = (
        "import resource, sys; from pathlib import Path; from data.errors import DataError; "
        "from data.files.images import read_rgb; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_rgb(Path(sys.argv[1]), 64)\n"
        "except DataError as fault: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, fault)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    grown, _, line = ran.stdout.partition(" ")
    assert "pixels and would fill the memory" in line
    assert int(grown) < 20_000, "KiB"


def test_the_bomb_is_an_image_where_it_fits(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(40))
    assert (np.asarray(read_rgb(tmp_path / "a.png", 40)) == 255).all()
    assert len(bomb(13_000)) < 13_000**2 / 1000
