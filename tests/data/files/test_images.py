"""Images of every mode, depth and format come as upright 8-bit RGB, or are refused in one line."""

import ast
import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.files.archives import FORMATS, SUFFIXES
from data.files.dicom import SUFFIXES as DICOM
from data.files.images import is_whole, read_header, read_rgb

REPOSITORY = Path(__file__).parents[3]
PACKAGES = ("augment", "benchmarks", "classify", "data", "flows", "reports")
SOURCES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
SOURCES = [path for path in SOURCES if "Image.open(" in path.read_text(encoding="utf-8")]
REFUSED = r"a\.jpg: not an image of a format that is read \(JPEG, PNG, TIFF, WEBP, BMP\); export it again as JPEG or"
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def read(path):
    return np.asarray(read_rgb(path, 64))


def grey_tiff(values, bits, order):
    """A TIFF of 16 x 16 as a microscope writes it, which Pillow reads and does not write."""
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
        data = packed.astype(np.uint8).tobytes()
    else:
        data = values.astype(f"{order}u2").tobytes()
    short, long = 3, 4
    tags = [(256, long, 16), (257, long, 16), (258, short, bits), (259, short, 1), (262, short, 1), (273, long, 8)]
    tags += [(277, short, 1), (278, long, 16), (279, long, len(data))]
    fields = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(f"{order}{'HH' if kind == short else 'I'}", *value)
        for tag, kind, one in tags
        for value in [(one, 0) if kind == short else (one,)]
    )
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + fields + b"\0\0\0\0"


def test_an_image_is_turned_upright_by_its_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    turned = save(tmp_path / "a.png", Image.fromarray(np.rot90(NOISE).copy()), exif=exif)
    assert (read(turned) == NOISE).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_a_grey_picture_in_any_mode_reads_the_same(tmp_path, mode):
    grey = np.where(np.arange(32)[:, None] < 16, 0, 255).repeat(32, 1).astype(np.uint8)
    suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(grey).convert("RGB").convert(mode))
    assert np.abs(read(path).astype(int) - grey[..., None]).max() <= 1


def test_what_is_transparent_reads_as_white(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGBA", (16, 16), (10, 20, 30, 0)))
    assert (read(path) == 255).all()


def test_sixteen_bits_are_scaled_and_do_not_turn_white(tmp_path):
    wide = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    pixels = read(save(tmp_path / "a.png", Image.fromarray(wide)))
    assert (pixels[..., 0] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_a_tiff_of_eight_bits_reads_as_its_pixels(tmp_path, compression, shape):
    stored = NOISE[..., 0] if len(shape) == 2 else NOISE
    path = save(tmp_path / "a.tif", Image.fromarray(stored), compression=compression)
    expected = np.broadcast_to(stored.reshape(48, 64, -1), NOISE.shape)
    assert (read(path) == expected).all()


@pytest.mark.parametrize(("bits", "order"), [(12, "<"), (16, "<"), (16, ">")])
def test_a_grey_tiff_of_more_than_eight_bits_is_scaled_and_does_not_turn_white_or_black(tmp_path, bits, order):
    wide = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(grey_tiff(wide, bits, order))
    assert np.abs(read(path)[..., 0].ravel() - np.arange(256.0)).max() <= 1


def test_a_colour_tiff_of_sixteen_bits_is_scaled(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), NOISE[..., ::-1].astype(np.uint16) * 257)
    assert (read(tmp_path / "a.tif") == NOISE).all()


def test_a_floating_point_image_is_refused_in_words(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.zeros((16, 16), np.float32)))
    with pytest.raises(DataError, match=r"a\.tif: mode F .* export it as 8-bit RGB"):
        read(path)


def test_a_file_of_several_pictures_is_refused_in_words(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.tif: holds 2 images; save the one"):
        read(path)


def test_a_header_that_cannot_be_is_a_broken_image_too(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\0\0\0\x0dIHDR", b"\0\0\0\x05IHDR"))  # of 5 bytes, not 13
    with pytest.raises(DataError, match=r"a\.png: broken image .* copy it anew or remove its row"):
        read(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_is_refused_and_never_half_read(tmp_path, suffix):
    whole = io.BytesIO()
    Image.fromarray(NOISE).save(whole, "JPEG" if suffix == "jpg" else "PNG")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) * 2 // 3])
    with pytest.raises(DataError, match=rf"a\.{suffix}: broken image .* copy it anew or remove its row"):
        read(path)


def test_what_is_no_image_or_not_there_is_refused_in_words(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"a\.jpg: not an image"):
        read(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: no such image"):
        read(tmp_path / "b.jpg")


def test_a_header_is_that_of_the_upright_image_and_a_missing_image_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    path = save(tmp_path / "a.jpg", Image.fromarray(NOISE[..., 0]), exif=exif)
    assert read_header(path) == ((48, 64), "L")
    with pytest.raises(DataError, match=r"b\.jpg: no such image"):
        read_header(tmp_path / "b.jpg")


def test_a_jpeg_is_not_decoded_smaller_than_four_times_what_is_needed(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(NOISE).resize((640, 480)))
    assert read_rgb(path, 16).size == (160, 120)  # 80 x 60 would be less than 64
    assert read_rgb(path, 160).size == (640, 480)


def test_an_eps_called_jpg_is_refused_and_starts_no_program(tmp_path, eps):
    (tmp_path / "a.jpg").write_bytes(eps)
    with pytest.raises(DataError, match=REFUSED):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["GIF", "JPEG2000", "ICO", "PPM", "TGA", "PCX", "PDF"])
def test_a_format_that_is_not_read_is_refused_whatever_the_file_is_called(tmp_path, kind):
    save(tmp_path / "a.jpg", Image.fromarray(NOISE), format=kind)
    with pytest.raises(DataError, match=REFUSED):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP"])
def test_a_format_that_is_read_is_read_whatever_the_file_is_called(tmp_path, kind):
    image = Image.new("RGB", (16, 16), (200, 90, 40))
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}  # a telephone's, with a preview
    path = save(tmp_path / "a.jpg", image, format=kind, **more)
    assert np.abs(read(path).astype(int) - (200, 90, 40)).max() <= 4


def test_every_suffix_that_is_accepted_belongs_to_a_format_that_is_read():
    kinds = Image.registered_extensions()
    assert {kinds[suffix] for suffix in SUFFIXES - DICOM} == set(FORMATS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_image_is_opened_but_in_the_named_formats(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    opening = [call for call in calls if ast.unparse(call.func) == "Image.open"]
    assert [call.lineno for call in opening if not ast.unparse(call).endswith("FORMATS)")] == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_that_lost_its_end_is_not_whole(tmp_path, kind):
    path = save(tmp_path / f"a.{'jpg' if kind == 'JPEG' else 'png'}", Image.fromarray(NOISE), format=kind)
    assert is_whole(path)
    content = path.read_bytes()
    kept = len(content) // 3
    for damaged in (content[:kept], content[:kept] + bytes(len(content) - kept), b""):
        path.write_bytes(damaged)
        assert not is_whole(path)
    assert not is_whole(tmp_path / "absent.jpg")
