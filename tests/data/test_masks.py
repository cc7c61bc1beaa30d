import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.masks import grown, mask_folder, masks_identity, read_masks, threshold_mask, threshold_masks
from data.phantoms import draw as drawing
from data.phantoms.looks import LOOKS
from data.pixels import PixelConfig, load_pixels


def one(folder, shape=(12, 20)):
    """A manifest of one photograph with a bright square, and its mask's path and pixels."""
    square = np.zeros(shape, np.uint8)
    square[2:9, 5:11] = 255
    (folder / "masks").mkdir()
    Image.fromarray(np.repeat(square[..., None], 3, 2)).save(folder / "a.png")
    Image.fromarray(square > 0).save(folder / "masks" / "a_segmentation.png")
    row = {**dict.fromkeys(COLUMNS, ""), "image_id": "a", "root": "r", "path": "a.png", "label": "df", "group_id": "a"}
    return Manifest(pd.DataFrame([row]).assign(source="real"), {"r": folder}), folder / "masks", square


@pytest.mark.parametrize("geometry", ["crop", "pad", "squash"])
def test_a_mask_is_cropped_and_resized_as_its_photograph_is(tmp_path, geometry):
    part, folder, _ = one(tmp_path)
    pixels = PixelConfig(size=8, geometry=geometry)
    (mask,) = read_masks(folder, part, pixels)
    (image,) = load_pixels(part, pixels)
    assert mask.any()
    assert not mask.all()
    assert (mask == (image[..., 0] >= 128)).all()  # the photograph shows the mask itself


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    part, folder, square = one(tmp_path)
    Image.fromarray(square[:, :10]).save(folder / "a_segmentation.png")
    with pytest.raises(DataError, match=r"a_segmentation.png: is 10 x 12 pixels and its photograph 20 x 12; export"):
        read_masks(folder, part, PixelConfig(size=8))


def test_a_missing_mask_or_folder_is_named(tmp_path):
    part, folder, _ = one(tmp_path)
    (folder / "a_segmentation.png").unlink()
    with pytest.raises(DataError, match=r"1 images have no mask, first a_segmentation.png; put it there"):
        masks_identity(folder, part)
    with pytest.raises(DataError, match="no such folder; `masks` must be"):
        mask_folder(str(tmp_path / "nowhere"))


def test_a_mask_may_have_the_image_s_id_alone_and_its_identity_is_that_of_its_bytes(tmp_path):
    part, folder, square = one(tmp_path)
    before = masks_identity(folder, part)
    (folder / "a_segmentation.png").rename(folder / "a.png")
    assert masks_identity(folder, part) == before
    Image.fromarray(255 - square).save(folder / "a.png")
    assert masks_identity(folder, part) != before


def phantom(number):
    """A phantom, and its lesion's mask: where the lesion has changed the skin that it was drawn on."""
    dx, on_skin, photo = list(LOOKS)[number % len(LOOKS)], [number, 1], [number, 2]
    image = drawing.draw(dx, np.random.default_rng(on_skin), np.random.default_rng(photo))
    rng = np.random.default_rng(on_skin)
    skin = drawing._skin(rng, round(drawing.EXTENT * 120))
    bare = skin.copy()
    change = np.abs(LOOKS[dx](skin, rng) - bare).max(axis=0)
    framed = drawing._framed(np.stack([change] * 3), np.random.default_rng(photo), 160, 120)
    return image, framed[0] > 0.05


def test_the_threshold_finds_the_lesions_of_phantoms():
    found = []
    for number in range(28):
        image, lesion = phantom(number)
        mask = threshold_mask(image[:, 20:140])
        found.append((mask & lesion[:, 20:140]).sum() / (mask | lesion[:, 20:140]).sum())
    assert np.mean(found) > 0.65
    assert min(found) > 0.2


def test_the_threshold_finds_a_dark_disc_with_its_pale_middle_and_no_dark_corner():
    y, x = np.mgrid[0:64, 0:64]
    image = np.full((64, 64, 3), 220, np.uint8)
    image[np.hypot(y - 31.5, x - 31.5) < 16] = 90
    image[np.hypot(y - 31.5, x - 31.5) < 5] = 210
    image[:9, :9] = 0
    (mask,) = threshold_masks([image])
    assert mask[32, 32]
    assert not mask[:9, :9].any()
    assert mask.sum() == pytest.approx(np.pi * 16**2, rel=0.15)
    assert (threshold_mask(image[:, ::-1])[:, ::-1] == mask).all()  # flipped alike


def test_a_mask_grows_all_round_but_never_over_the_whole_image():
    masks = np.zeros((2, 9, 9), bool)
    masks[0, 4, 4] = True
    masks[1, 1:8, 1:8] = True
    larger = grown(masks, 2)
    y, x = np.nonzero(larger[0])
    assert (y.min(), y.max(), x.min(), x.max()) == (2, 6, 2, 6)
    assert (grown(masks, 9)[1] == masks[1]).all()
    assert (grown(masks, 0) == masks).all()


def test_an_image_of_one_colour_has_an_empty_mask():
    assert not threshold_mask(np.full((32, 32, 3), 100, np.uint8)).any()
