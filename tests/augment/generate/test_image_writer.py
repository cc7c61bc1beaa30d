import threading

import numpy as np
import pytest
from PIL import Image

from augment.generate.image_writer import ImageWriter
from augment.generate.mark import SYNTHETIC, origin_of


def random_images(n):
    return np.random.default_rng(0).integers(0, 256, (n, 24, 16, 3), dtype=np.uint8)


def test_every_image_is_there_on_leaving_and_whole_to_the_bit(tmp_path):
    images = random_images(30)
    with ImageWriter(tmp_path, "png", jpeg_quality=95, max_pending=3) as writer:
        for n, image in enumerate(images):
            writer.add(f"{n}.png", image)
    assert writer.added == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.png" for n in range(30))
    for n, image in enumerate(images):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{n}.png")), image)


def test_jpeg_keeps_full_colour_and_takes_the_quality_asked_for(tmp_path):
    edges = np.zeros((32, 32, 3), np.uint8)
    edges[:, ::2] = (255, 0, 0)  # neighbours of one brightness class, told apart by colour alone
    edges[:, 1::2] = (0, 0, 255)
    sizes = []
    for quality in (40, 95):
        with ImageWriter(tmp_path, "jpg", quality, max_pending=1) as writer:
            writer.add(f"{quality}.jpg", edges)
        sizes.append((tmp_path / f"{quality}.jpg").stat().st_size)
    with Image.open(tmp_path / "95.jpg") as image:
        assert image.format == "JPEG"
        read = np.asarray(image).astype(int)
    assert sizes[0] < sizes[1]
    assert np.abs(read - edges).mean() < 10


@pytest.mark.parametrize("file_format", ["jpg", "png"])
def test_a_file_says_in_its_metadata_that_it_is_synthetic_and_its_pixels_are_those_without(tmp_path, file_format):
    image = random_images(1)[0]
    with ImageWriter(tmp_path, file_format, jpeg_quality=95, max_pending=1) as writer:
        writer.add(f"0.{file_format}", image)
    plain = {"jpg": {"format": "JPEG", "quality": 95, "subsampling": 0}, "png": {"format": "PNG"}}[file_format]
    Image.fromarray(image).save(tmp_path / "plain", **plain)
    with Image.open(tmp_path / f"0.{file_format}") as written, Image.open(tmp_path / "plain") as unmarked:
        assert origin_of(written) == SYNTHETIC
        assert origin_of(unmarked) == ""
        np.testing.assert_array_equal(np.asarray(written), np.asarray(unmarked))


@pytest.fixture
def disk_full(monkeypatch):
    """Images called `full.png` cannot be written; gives what was tried."""
    tried = []

    def write(self, path, image):
        tried.append(path.name)
        if path.name == "full.png":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(ImageWriter, "_write", write)
    return tried


def write(folder, names, max_pending, added, *, fails=False):
    """Write images of these names, and note how many were queued before a failure was raised."""
    with ImageWriter(folder, "png", 95, max_pending) as writer:
        for name in names:
            writer.add(name, random_images(1)[0])
            added.append(name)
        if fails:
            raise RuntimeError("the loss is nan")


def test_a_thread_s_failure_is_raised_at_the_latest_on_leaving(tmp_path, disk_full):
    added = []
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, ["full.png", "1.png"], 8, added)
    assert added == ["full.png", "1.png"]
    assert sorted(disk_full) == ["1.png", "full.png"]


def test_a_failure_stops_the_work_once_as_many_wait_as_may(tmp_path, disk_full):
    added = []
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, ["full.png", *(f"{n}.png" for n in range(100))], 2, added)
    assert added == ["full.png", "0.png"]


def test_the_computation_s_own_failure_is_the_one_that_is_raised(tmp_path, disk_full):
    with pytest.raises(RuntimeError, match="the loss is nan"):
        write(tmp_path, ["full.png"], 8, [], fails=True)


def test_a_file_that_is_there_is_whole(tmp_path, monkeypatch):
    halfway, go_on = threading.Event(), threading.Event()
    save = Image.Image.save

    def slow(image, path, *given, **more):
        path.write_bytes(b"half")
        halfway.set()
        go_on.wait(10)
        save(image, path, *given, **more)

    monkeypatch.setattr(Image.Image, "save", slow)
    with ImageWriter(tmp_path, "png", 95, max_pending=8) as writer:
        writer.add("0.png", random_images(1)[0])
        assert halfway.wait(10)
        assert not (tmp_path / "0.png").exists()
        go_on.set()
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
