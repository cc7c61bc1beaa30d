import ast
import io
import os
import struct
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from data.dicom import SUFFIXES as DICOM
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.config import parse
from data.errors import ConfigError, DataError
from data.files.archives import FORMATS, SUFFIXES
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig, load_pixels, read_image, train_augmentation

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("augment", "benchmarks", "classify", "data", "flows", "reports")
SOURCES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
SOURCES = [path for path in SOURCES if "Image.open(" in path.read_text(encoding="utf-8")]
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def manifest_of(folder, names):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(names)))
    table["image_id"] = table["group_id"] = [f"{row}-{name}" for row, name in enumerate(names)]
    table["path"], table["label"], table["root"], table["source"] = names, "nv", "images", "real"
    return Manifest(table, {"images": folder})


@pytest.fixture
def folder(tmp_path):
    for n in range(5):
        Image.fromarray(np.roll(NOISE, n, axis=0)).save(tmp_path / f"{n}.png")
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    read = []

    def counting(path, config):
        read.append(path.name)
        return read_image(path, config)

    monkeypatch.setattr("data.pixels.read_image", counting)
    return read


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_area_resampling_is_the_mean_of_the_pixels_covered(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE[:, 8:56]))
    means = NOISE[:, 8:56].reshape(12, 4, 12, 4, 3).mean((1, 3))
    assert np.abs(read_image(path, PixelConfig(size=12)) - means).max() <= 1


def test_crop_takes_the_central_square(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE))
    assert (read_image(path, PixelConfig(size=48)) == NOISE[:, 8:56]).all()


def test_pad_keeps_the_whole_image_on_black(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE))
    padded = read_image(path, PixelConfig(size=64, geometry="pad"))
    assert (padded[8:56] == NOISE).all()
    assert not padded[:8].any()
    assert not padded[56:].any()


def test_squash_keeps_every_edge(tmp_path):
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, :32] = 200
    squashed = read_image(save(tmp_path / "a.png", Image.fromarray(half)), PixelConfig(size=16, geometry="squash"))
    assert (squashed[:, :8] == 200).all()
    assert not squashed[:, 8:].any()


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    size=st.integers(8, 24),
    geometry=st.sampled_from(["crop", "pad", "squash"]),
)
@settings(deadline=None, max_examples=40)
def test_any_shape_of_one_colour_stays_that_colour(tmp_path_factory, width, height, size, geometry):
    path = save(tmp_path_factory.getbasetemp() / "plain.png", Image.new("RGB", (width, height), (200, 90, 40)))
    pixels = read_image(path, PixelConfig(size=size, geometry=geometry))
    assert pixels.shape == (size, size, 3)
    colours = {tuple(map(int, colour)) for colour in pixels.reshape(-1, 3)}
    assert colours <= ({(200, 90, 40)} | ({(0, 0, 0)} if geometry == "pad" else set()))
    assert (200, 90, 40) in colours


def test_an_image_is_turned_upright_by_its_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    turned = save(tmp_path / "a.png", Image.fromarray(np.rot90(NOISE).copy()), exif=exif)
    assert (read_image(turned, PixelConfig(size=48)) == NOISE[:, 8:56]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_a_grey_picture_in_any_mode_reads_the_same(tmp_path, mode):
    grey = np.where(np.arange(32)[:, None] < 16, 0, 255).repeat(32, 1).astype(np.uint8)
    suffix = "tif" if mode in {"CMYK", "YCbCr"} else "png"
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(grey).convert("RGB").convert(mode))
    assert np.abs(read_image(path, PixelConfig(size=32)).astype(int) - grey[..., None]).max() <= 1


def test_what_is_transparent_reads_as_white(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGBA", (16, 16), (10, 20, 30, 0)))
    assert (read_image(path, PixelConfig(size=16)) == 255).all()


def test_sixteen_bits_are_scaled_and_do_not_turn_white(tmp_path):
    wide = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    pixels = read_image(save(tmp_path / "a.png", Image.fromarray(wide)), PixelConfig(size=16))
    assert (pixels[..., 0] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_a_tiff_of_eight_bits_reads_as_its_pixels(tmp_path, compression, shape):
    stored = NOISE[..., 0] if len(shape) == 2 else NOISE
    path = save(tmp_path / "a.tif", Image.fromarray(stored), compression=compression)
    expected = np.broadcast_to(stored.reshape(48, 64, -1), NOISE.shape)
    assert (read_image(path, PixelConfig(size=48)) == expected[:, 8:56]).all()


@pytest.mark.parametrize(("bits", "order"), [(12, "<"), (16, "<"), (16, ">")])
def test_a_grey_tiff_of_more_than_eight_bits_is_scaled_and_does_not_turn_white_or_black(tmp_path, bits, order):
    wide = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(grey_tiff(wide, bits, order))
    assert np.abs(read_image(path, PixelConfig(size=16))[..., 0].ravel() - np.arange(256.0)).max() <= 1


def test_a_colour_tiff_of_sixteen_bits_is_scaled(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), NOISE[..., ::-1].astype(np.uint16) * 257)
    assert (read_image(tmp_path / "a.tif", PixelConfig(size=48)) == NOISE[:, 8:56]).all()


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


def test_a_floating_point_image_is_refused_in_words(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.zeros((16, 16), np.float32)))
    with pytest.raises(DataError, match=r"a\.tif: mode F .* export it as 8-bit RGB"):
        read_image(path, PixelConfig())


def test_a_file_of_several_pictures_is_refused_in_words(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.tif: holds 2 pictures; save the one"):
        read_image(path, PixelConfig())


def test_a_header_that_cannot_be_is_a_broken_image_too(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\0\0\0\x0dIHDR", b"\0\0\0\x05IHDR"))  # of 5 bytes, not 13
    with pytest.raises(DataError, match=r"a\.png: broken image .* copy it anew or remove its row"):
        read_image(path, PixelConfig())


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_is_refused_and_never_half_read(tmp_path, suffix):
    whole = io.BytesIO()
    Image.fromarray(NOISE).save(whole, "JPEG" if suffix == "jpg" else "PNG")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) * 2 // 3])
    with pytest.raises(DataError, match=rf"a\.{suffix}: broken image .* copy it anew or remove its row"):
        read_image(path, PixelConfig())


def test_what_is_no_image_or_not_there_is_refused_in_words(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"a\.jpg: not an image"):
        read_image(tmp_path / "a.jpg", PixelConfig())
    with pytest.raises(DataError, match=r"b\.jpg: no such image"):
        read_image(tmp_path / "b.jpg", PixelConfig())


REFUSED = r"a\.jpg: not an image of a format that is read \(JPEG, PNG, TIFF, WEBP, BMP\); export it again as JPEG or"


def test_an_eps_called_jpg_is_refused_and_starts_no_program(tmp_path, eps):
    (tmp_path / "a.jpg").write_bytes(eps)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError, match=REFUSED):
            load_pixels(manifest_of(tmp_path, ["a.jpg"]), PixelConfig(), cache)


@pytest.mark.parametrize("kind", ["GIF", "JPEG2000", "ICO", "PPM", "TGA", "PCX", "PDF"])
def test_a_format_that_is_not_read_is_refused_whatever_the_file_is_called(tmp_path, kind):
    save(tmp_path / "a.jpg", Image.fromarray(NOISE), format=kind)
    with pytest.raises(DataError, match=REFUSED):
        read_image(tmp_path / "a.jpg", PixelConfig())


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP"])
def test_a_format_that_is_read_is_read_whatever_the_file_is_called(tmp_path, kind):
    image = Image.new("RGB", (16, 16), (200, 90, 40))
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}  # a telephone's, with a preview
    path = save(tmp_path / "a.jpg", image, format=kind, **more)
    assert np.abs(read_image(path, PixelConfig(size=16)).astype(int) - (200, 90, 40)).max() <= 4


def test_every_suffix_that_is_accepted_belongs_to_a_format_that_is_read():
    kinds = Image.registered_extensions()
    assert {kinds[suffix] for suffix in SUFFIXES - DICOM} == set(FORMATS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_image_is_opened_but_in_the_named_formats(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    opening = [call for call in calls if ast.unparse(call.func) == "Image.open"]
    assert [call.lineno for call in opening if not ast.unparse(call).endswith("FORMATS)")] == []


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'geometry'"):
        parse(PixelConfig, {"geometri": "pad"}, "c.yaml")
    with pytest.raises(ConfigError, match="size"):
        parse(PixelConfig, {"size": 0}, "c.yaml")


def test_the_cache_gives_what_decoding_gives_in_any_order(folder, tmp_path):
    config = PixelConfig(size=16)
    for names in (["1.png", "2.png"], ["4.png", "0.png", "4.png", "2.png"], [f"{n}.png" for n in range(5)], []):
        manifest = manifest_of(folder, names)
        plain, cached = load_pixels(manifest, config), load_pixels(manifest, config, tmp_path / "cache")
        assert cached.dtype == np.uint8
        assert cached.shape == plain.shape == (len(names), 16, 16, 3)
        assert (cached == plain).all()


def test_an_image_is_decoded_once_for_all_manifests_that_hold_it(folder, tmp_path, decoded):
    config = PixelConfig(size=16)
    for names in (["0.png", "1.png"], ["1.png", "1.png", "2.png"], ["2.png", "0.png"]):
        load_pixels(manifest_of(folder, names), config, tmp_path / "cache")
    assert sorted(decoded) == ["0.png", "1.png", "2.png"]
    load_pixels(manifest_of(folder, ["0.png"]), PixelConfig(size=24), tmp_path / "cache")
    assert len(decoded) == 4, "another form is another decoding"


def test_a_file_that_changed_is_decoded_again(folder, tmp_path):
    manifest, config = manifest_of(folder, ["0.png"]), PixelConfig(size=16)
    before = load_pixels(manifest, config, tmp_path / "cache").copy()
    Image.fromarray(255 - NOISE).save(folder / "0.png")
    os.utime(folder / "0.png", ns=(1, 1))
    after = load_pixels(manifest, config, tmp_path / "cache")
    assert (after != before).any()
    assert (after == load_pixels(manifest, config)).all()


def test_decoding_goes_on_after_a_crash_where_it_stopped(folder, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr("data.pixels._FLUSH", 2)
    manifest, config = manifest_of(folder, [f"{n}.png" for n in range(5)]), PixelConfig(size=16)
    (folder / "3.png").rename(folder / "hidden.png")
    (folder / "3.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"3\.png"):
        load_pixels(manifest, config, tmp_path / "cache")
    (folder / "hidden.png").replace(folder / "3.png")
    for file, torn in (("pixels.bin", b"half an image"), ("index.txt", b"half a line")):
        with (tmp_path / "cache" / "pixels-16-crop" / file).open("ab") as out:
            out.write(torn)
    decoded.clear()
    assert (load_pixels(manifest, config, tmp_path / "cache") == load_pixels(manifest, config)).all()
    assert decoded[:3] == ["2.png", "3.png", "4.png"]


def test_writing_to_the_pixels_changes_no_cache(folder, tmp_path):
    manifest, config = manifest_of(folder, ["0.png", "1.png"]), PixelConfig(size=16)
    load_pixels(manifest, config, tmp_path / "cache")[:] = 0
    assert load_pixels(manifest, config, tmp_path / "cache").any()


def test_the_cache_is_a_map_of_the_file_and_takes_no_memory(folder, tmp_path):
    manifest, config = manifest_of(folder, [f"{n}.png" for n in range(5)]), PixelConfig(size=512)
    load_pixels(manifest, config, tmp_path / "cache")
    tracemalloc.start()
    load_pixels(manifest, config, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 512 * 512 * 3 / 4


def test_progress_is_told_to_the_last_image(folder, tmp_path):
    for cache in (None, tmp_path / "cache"):
        told = []
        manifest = manifest_of(folder, ["0.png", "1.png", "2.png"])
        load_pixels(manifest, PixelConfig(), cache, lambda done, of, told=told: told.append((done, of)))
        assert told[-1] == (3, 3)


def test_a_missing_image_is_named(folder, tmp_path):
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError, match=r"9\.png: no such image"):
            load_pixels(manifest_of(folder, ["0.png", "9.png"]), PixelConfig(), cache)


def test_the_same_seed_gives_the_same_views_and_another_gives_others():
    image = NOISE[:, :48]
    views = [[train_augmentation(32, seed)(image) for _ in range(1)] for seed in (3, 3, 4)]
    assert (np.array(views[0]) == np.array(views[1])).all()
    assert (np.array(views[0]) != np.array(views[2])).any()
    one, other = train_augmentation(32, 5), train_augmentation(32, 5)
    series = [(one(image), other(image)) for _ in range(20)]
    assert all((a == b).all() for a, b in series)
    assert len({a.tobytes() for a, _ in series}) == 20
    assert series[0][0].shape == (32, 32, 3)
    assert series[0][0].dtype == np.uint8


def test_global_seeds_do_not_reach_the_views():
    image = NOISE[:, :48]
    view = train_augmentation(48, 7)(image)
    np.random.seed(1)  # noqa: NPY002 - that it has no effect is the point
    assert (train_augmentation(48, 7)(image) == view).all()


def test_views_stay_mild():
    image = np.full((64, 64, 3), (180, 120, 100), np.uint8)
    views = train_augmentation(64, 0)
    means = np.array([views(image).mean((0, 1)) for _ in range(100)])
    assert np.abs(means - image[0, 0]).max() < 50
    assert means.std(0).min() > 1


def test_a_view_of_64_pixels_takes_less_than_a_third_of_a_millisecond():
    views, image = train_augmentation(64, 0), NOISE[:48, :48]
    views(image)
    fastest = min(_seconds(lambda: [views(image) for _ in range(100)]) for _ in range(5)) / 100
    assert fastest < 0.3e-3


def _seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start
