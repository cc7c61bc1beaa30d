"""Skin and camera; the whole image is tested in test_table.py."""

import numpy as np
import pytest

from data.phantoms.draw import _focused, _framed, _hair, _lit, _skin, _vignette, draw
from data.phantoms.fields import EXTENT
from data.phantoms.looks import LOOKS
from data.phantoms.table import CODES

CAMERA = (_hair, _focused, _lit, _vignette)


def rng(*seed):
    return np.random.default_rng(seed)


def test_skin_is_lit_from_pale_to_tan_with_more_red_than_blue_and_never_black():
    skins = np.stack([_skin(rng(seed), 64) for seed in range(30)])
    assert skins.min() > 0.15
    assert skins.max() < 1.2
    red, green, blue = skins.mean(axis=(2, 3)).T
    assert (red > green).all()
    assert (green > blue - 0.05).all()
    assert red.max() - red.min() > 0.05  # people differ


@pytest.mark.parametrize("work", CAMERA, ids=lambda work: work.__name__)
def test_each_part_of_the_camera_keeps_the_picture_s_shape_and_range_and_follows_its_seed(work):
    scene = np.full((3, 48, 64), 0.97, np.float32)
    scene[:, 20:28, 28:36] = 0.2
    taken = [work(scene.copy(), rng(seed)) for seed in range(30)]
    for seed, image in enumerate(taken):
        assert image.shape == scene.shape
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
        np.testing.assert_array_equal(image, work(scene.copy(), rng(seed)))
    assert len({image.tobytes() for image in taken}) > 3


def test_the_frame_shows_the_middle_of_the_scene_at_the_size_asked_for():
    scene = np.zeros((3, 84, 84), np.float32)
    scene[:, 36:48, 36:48] = 1
    for seed in range(10):
        view = _framed(scene, rng(seed), 64, 48)
        assert view.shape == (3, 48, 64)
        rows, columns = np.nonzero(view[0] > 0.5)
        assert abs(rows.mean() - 24) < 10
        assert abs(columns.mean() - 32) < 10


@pytest.mark.parametrize("dx", CODES)
def test_lesion_and_photo_each_decide_their_own_part(dx):
    first = draw(dx, rng(1), rng(2), 64, 48)
    assert (first.shape, first.dtype) == ((48, 64, 3), np.uint8)
    np.testing.assert_array_equal(first, draw(dx, rng(1), rng(2), 64, 48))
    assert not np.array_equal(first, draw(dx, rng(1), rng(3), 64, 48))
    assert not np.array_equal(first, draw(dx, rng(4), rng(2), 64, 48))


def test_the_camera_leaves_the_lesion_s_numbers_alone_and_the_lesion_the_camera_s():
    lesion, alone, photo, other = rng(1), rng(1), rng(2), rng(2)
    draw("mel", lesion, photo, 64, 48)
    LOOKS["mel"](_skin(alone, round(EXTENT * 48)), alone)
    draw("vasc", rng(4), other, 64, 48)
    assert lesion.random() == alone.random()
    assert photo.random() == other.random()
