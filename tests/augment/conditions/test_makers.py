import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.conditions.edges import canny, lines, scribble, soft_edge
from augment.conditions.images import VIEWS, ConditionImages, turned
from augment.conditions.relief import depth, mask_depth, normal
from augment.conditions.table import CONDITIONS, ConditionSource, condition, condition_pixels
from augment.finetune.examples import symmetries
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels

WITHOUT_PACKAGES = [name for name in CONDITIONS if name != "hed"]


def lesion(contrast=90, size=64):
    """A dark ellipse on skin, and the corners of a dark frame; with it the ellipse's mask."""
    mask = cv2.ellipse(np.zeros((size, size), np.uint8), (26, 36), (16, 9), 25, 0, 360, 1, -1)
    skin = np.full((size, size, 3), (220, 180, 170), np.float32) - contrast * mask[..., None]
    skin[:6, :6] = skin[-5:, -7:] = 20
    noise = np.random.default_rng(0).normal(0, 2, skin.shape)
    return np.clip(cv2.GaussianBlur(skin, (0, 0), 1) + noise, 0, 255).astype(np.uint8), mask


def overlap(one, other):
    return ((one > 0) & (other > 0)).sum() / ((one > 0) | (other > 0)).sum()


@pytest.mark.parametrize("name", WITHOUT_PACKAGES)
def test_a_condition_has_three_channels_from_0_to_1(name):
    made = condition(name, lesion()[0])
    assert made.shape == (64, 64, 3)
    assert 0 <= made.min() < 0.6 < made.max() <= 1
    assert condition_pixels(name, lesion()[0]).dtype == np.uint8


@pytest.mark.parametrize("name", WITHOUT_PACKAGES)
def test_an_image_of_one_colour_has_a_condition_without_content(name):
    made = condition(name, np.full((64, 64, 3), 120, np.uint8))
    assert np.isfinite(made).all()
    assert np.ptp(made.reshape(-1, 3), axis=0).max() < 1e-6


@pytest.mark.parametrize("name", [name for name in WITHOUT_PACKAGES if name != "lines"])  # LSD starts at a corner
def test_a_turned_photograph_has_the_turned_condition(name):
    pixels = lesion()[0]
    images = ConditionImages(condition_pixels(name, pixels)[None], has_directions=name == "normal")
    for view in range(VIEWS):
        expected = condition(name, np.ascontiguousarray(turned(pixels, view)))
        found = images.turned([0], [view])[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).mean() < 2e-3


def test_views_are_the_symmetries_that_latents_are_made_of():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for view, images in enumerate(symmetries(pixels)):
        np.testing.assert_array_equal(turned(pixels[1], view), images[1])


def test_the_lesion_is_found_and_dark_corners_are_not():
    pixels, mask = lesion()
    assert overlap(condition("mask", pixels)[..., 0], mask) > 0.8


@pytest.mark.parametrize("contrast", [90, 12])
def test_a_pale_lesion_has_as_many_edges_as_a_dark_one(contrast):
    pixels, mask = lesion(contrast)
    edges = canny(pixels)
    outline = cv2.dilate(mask, np.ones((5, 5), np.uint8)) - cv2.erode(mask, np.ones((5, 5), np.uint8))
    assert 0.02 < edges.mean() < 0.12
    assert set(np.unique(edges)) == {0, 1}
    assert (edges * outline).sum() > 35


def test_soft_edges_and_scribbles_are_strongest_at_the_outline():
    pixels, mask = lesion()
    outline = cv2.dilate(mask, np.ones((3, 3), np.uint8)) - cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    away = cv2.dilate(mask, np.ones((9, 9), np.uint8))[12:50, 8:-8] == 0
    assert soft_edge(pixels)[outline].mean() > 3 * soft_edge(pixels)[12:50, 8:-8][away].mean()
    assert scribble(pixels)[outline].mean() > 0.8


def test_a_straight_line_is_found_in_a_small_image():
    pixels = np.full((64, 64, 3), 200, np.uint8)
    cv2.line(pixels, (10, 8), (50, 40), (30, 30, 30), 2)
    found = lines(pixels)
    near = cv2.line(np.zeros((64, 64), np.uint8), (10, 8), (50, 40), 1, 7)
    assert found.sum() > 60
    assert (found * near).sum() > 0.9 * found.sum()


def test_depth_is_high_in_the_dark_and_in_the_middle_of_a_mask():
    pixels, mask = lesion()
    assert depth(pixels)[36, 26] > depth(pixels)[10, 40] + 0.3
    height = mask_depth(mask)
    assert height.max() == 1
    assert not height[mask == 0].any()
    assert height[36, 26] > 0.9


def test_normals_point_away_from_the_highest_point():
    skin = np.full((64, 64), 220.0)
    yy, xx = np.mgrid[:64, :64] - 32
    skin -= 150 * np.exp(-(xx**2 + yy**2) / 200)
    made = 2 * normal(np.repeat(skin[..., None], 3, axis=-1).astype(np.uint8)) - 1
    np.testing.assert_allclose(np.linalg.norm(made, axis=-1), 1, atol=1e-5)
    assert made[32, 44, 0] > 0.2 > -0.2 > made[32, 20, 0]  # to the right on the right side
    assert made[20, 32, 1] > 0.2 > -0.2 > made[44, 32, 1]  # upwards on the upper side


@pytest.fixture
def with_masks(tmp_path):
    pixels, mask = lesion()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(255 * (1 - mask)).save(tmp_path / "a_segmentation.png")  # another one than would be found
    row = {"image_id": "a", "root": "real", "path": "a.png", "label": "df", "source": "real", "group_id": "g"}
    row |= {"lesion_id": "", "patient_id": "", "lineage": ""}
    return Manifest(pd.DataFrame([row]), {"real": tmp_path}), tmp_path, mask


@pytest.mark.parametrize("name", ["mask", "mask-depth"])
def test_masks_of_files_stand_in_for_those_that_would_be_found(with_masks, name):
    manifest, folder, mask = with_masks
    config = PixelConfig(size=64)
    source = ConditionSource(name, str(folder))
    made = source.images(load_pixels(manifest, config), manifest, config).turned([0], [0])[0, 0].numpy()
    assert overlap(made, 1 - mask) > 0.99
    before = source.identity(manifest)
    Image.fromarray(255 * mask).save(folder / "a_segmentation.png")
    assert source.identity(manifest) != before
    assert ConditionSource(name).identity(manifest) == {}


def test_a_missing_mask_is_named(with_masks):
    manifest, folder, _ = with_masks
    (folder / "a_segmentation.png").unlink()
    with pytest.raises(DataError, match=r"1 images have no mask, first a_segmentation\.png"):
        ConditionSource("mask", str(folder)).identity(manifest)
