import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.config import parse
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS, Manifest, contents_of
from data.pixels import PixelConfig, cache_bytes, cache_folder, image_header, load_pixels, read_image

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
    for file, torn in (("pixels.bin", b"half an image"), ("index-3.txt", b"half a line")):
        with (tmp_path / "cache" / "pixels-16-crop" / file).open("ab") as out:
            out.write(torn)
    decoded.clear()
    assert (load_pixels(manifest, config, tmp_path / "cache") == load_pixels(manifest, config)).all()
    assert decoded[:3] == ["2.png", "3.png", "4.png"]


def test_damaged_pixels_are_decoded_anew_with_a_warning(folder, tmp_path, decoded, caplog):
    manifest, config = manifest_of(folder, [f"{n}.png" for n in range(5)]), PixelConfig(size=16)
    load_pixels(manifest, config, tmp_path / "cache")
    pixels = tmp_path / "cache" / "pixels-16-crop" / "pixels.bin"
    content = bytearray(pixels.read_bytes())
    content[2 * 16 * 16 * 3 + 5] ^= 1
    pixels.write_bytes(content)
    decoded.clear()
    for _ in range(2):
        assert (load_pixels(manifest, config, tmp_path / "cache") == load_pixels(manifest, config)).all()
    assert decoded.count("2.png") == 3  # once for the cache, and twice to compare
    assert len(decoded) == 11
    assert caplog.text.count("pixels of 1 images are damaged") == 1


def test_one_damaged_byte_of_the_index_costs_one_decoding(folder, tmp_path, decoded):
    manifest, config = manifest_of(folder, [f"{n}.png" for n in range(5)]), PixelConfig(size=16)
    load_pixels(manifest, config, tmp_path / "cache")
    index = tmp_path / "cache" / "pixels-16-crop" / "index-3.txt"
    content = bytearray(index.read_bytes())
    content[len(content) // 5 - 1] ^= 1  # the newline of the first line
    index.write_bytes(content)
    decoded.clear()
    for _ in range(3):
        load_pixels(manifest, config, tmp_path / "cache")
    assert decoded == []


def test_a_shifted_index_gives_no_images_pixels_to_another(folder, tmp_path):
    manifest, config = manifest_of(folder, [f"{n}.png" for n in range(5)]), PixelConfig(size=16)
    load_pixels(manifest, config, tmp_path / "cache")
    index = tmp_path / "cache" / "pixels-16-crop" / "index-3.txt"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[1:]))
    assert (load_pixels(manifest, config, tmp_path / "cache") == load_pixels(manifest, config)).all()


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


def test_progress_is_reported_to_the_last_image(folder, tmp_path):
    for cache in (None, tmp_path / "cache"):
        calls = []
        manifest = manifest_of(folder, ["0.png", "1.png", "2.png"])
        load_pixels(
            manifest, PixelConfig(), cache, lambda done, total, note="", calls=calls: calls.append((done, total))
        )
        assert calls[-1] == (3, 3)


def test_a_missing_image_is_named(folder, tmp_path):
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError, match=r"9\.png: no such image"):
            load_pixels(manifest_of(folder, ["0.png", "9.png"]), PixelConfig(), cache)


def test_the_cache_takes_as_many_bytes_as_are_estimated(folder, tmp_path):
    config = PixelConfig(size=16, geometry="pad")
    load_pixels(manifest_of(folder, ["0.png", "1.png", "1.png"]), config, tmp_path)
    assert cache_folder(tmp_path, config) == tmp_path / "pixels-16-pad"
    assert sum(file.stat().st_size for file in cache_folder(tmp_path, config).iterdir()) == cache_bytes(2, config)


def test_a_header_tells_the_upright_size_and_the_stored_mode(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", Image.fromarray(NOISE).convert("RGBA"), exif=exif)
    assert image_header(path) == ((48, 64), "RGBA")


def test_two_files_of_equal_size_and_time_that_change_places_are_read_anew(folder):
    for n in range(2):
        Image.fromarray(np.roll(NOISE, n, axis=0)).save(folder / f"{n}.bmp")
        os.utime(folder / f"{n}.bmp", ns=(0, 10**18))
    images, config = manifest_of(folder, ["0.bmp", "1.bmp"]), PixelConfig(size=16)
    first, one = (np.array(each) for each in load_pixels(images, config, folder / "cache"))
    contents = contents_of(images, folder / "contents.json")
    for old, new in (("0.bmp", "2.bmp"), ("1.bmp", "0.bmp"), ("2.bmp", "1.bmp")):
        (folder / old).rename(folder / new)
    assert (folder / "0.bmp").stat().st_mtime_ns == (folder / "1.bmp").stat().st_mtime_ns
    swapped = load_pixels(images, config, folder / "cache")
    assert (swapped[0] == one).all()
    assert (swapped[1] == first).all()
    assert list(contents_of(images, folder / "contents.json").values()) == list(contents.values())[::-1]


def test_a_cache_of_an_earlier_version_is_replaced_and_not_cut_off_under_who_reads_it(folder):
    images, config, cache = manifest_of(folder, ["0.png"]), PixelConfig(size=16), folder / "cache"
    read = load_pixels(images, config, cache)
    before = np.array(read)
    index = cache_folder(cache, config) / "index-3.txt"
    index.rename(index.with_name("index-2.txt"))
    assert (load_pixels(images, config, cache) == before).all()
    assert (read == before).all(), "mapped by another process, say"
    assert not index.with_name("index-2.txt").exists()
