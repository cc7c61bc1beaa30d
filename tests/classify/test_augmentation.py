"""Augmented batches against albumentations' own operations, image by image, on the same parameters."""

import math

import cv2
import numpy as np
import pytest
import torch
from albucore import multiply_add
from albumentations.augmentations.crops.functional import crop as cropped
from albumentations.augmentations.geometric.functional import d4
from albumentations.augmentations.pixel.functional import shift_hsv

from classify.augmentation import Parameters, augment, crop, jitter_colour, sample_parameters
from data.pixels import train_augmentation

pytestmark = pytest.mark.numerical

N, SIZE = 48, 40
TURNS = {  # transposed, then upside down, then left to right
    "e": (0, 0, 0), "t": (1, 0, 0), "v": (0, 1, 0), "h": (0, 0, 1),
    "r180": (0, 1, 1), "r90": (1, 1, 0), "r270": (1, 0, 1), "hvt": (1, 1, 1),
}  # fmt: skip


def skin(n=N, size=SIZE, seed=0):
    """Smooth pictures in many colours, with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 5, 5, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def sampled(seed=0, **changes):
    parameters = vars(sample_parameters(N, SIZE, torch.Generator().manual_seed(seed)))
    return Parameters(**{**parameters, **changes})


def identity(**changes):
    """Parameters that change nothing, but for these."""
    nothing = torch.zeros(N)
    box = torch.tensor([[0.0, 0.0, SIZE, SIZE]]).expand(N, 4)
    fields = {"turned": torch.zeros(N, 3, dtype=torch.bool), "box": box, "contrast": nothing + 1}
    return Parameters(**{**fields, "brightness": nothing, "hue": nothing, "saturation": nothing, **changes})


def batch(levels):
    return levels.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("turn", TURNS)
def test_each_of_the_eight_turns_is_albumentations_own(turn):
    turned = torch.tensor([TURNS[turn]], dtype=torch.bool).expand(N, 3)
    found = batch(crop(torch.from_numpy(skin()), identity(turned=turned)))
    assert (found == np.stack([d4(image, turn) for image in skin()])).all()


def test_a_crop_is_opencvs_linear_one_within_a_level():
    plan, images = sampled(turned=torch.zeros(N, 3, dtype=torch.bool)), skin()
    found = batch(crop(torch.from_numpy(images), plan))
    for image, found_one, (top, left, height, width) in zip(images, found, plan.box.int().tolist(), strict=True):
        expected = cv2.resize(cropped(image, left, top, left + width, top + height), (SIZE, SIZE))
        assert np.abs(found_one - expected).max() <= 1


def test_a_turned_crop_is_the_crop_of_the_turned_image():
    plan, images = sampled(), skin()
    names = {turn: name for name, turn in TURNS.items()}
    turned = np.stack(
        [d4(image, names[tuple(turn)]) for image, turn in zip(images, plan.turned.int().tolist(), strict=True)]
    )
    straight = Parameters(**{**vars(plan), "turned": torch.zeros(N, 3, dtype=torch.bool)})
    found, expected = (crop(torch.from_numpy(x), p) for x, p in ((images, plan), (turned, straight)))
    assert (found - expected).abs().max() <= 1  # the weights are rounded from another side
    assert len({tuple(turn) for turn in plan.turned.int().tolist()}) == 8


def test_light_is_albumentations_own():
    plan, images = sampled(1), skin()
    nothing = torch.zeros(N)
    plan = Parameters(**{**vars(plan), "hue": nothing, "saturation": nothing})
    found = batch(jitter_colour(torch.from_numpy(images).permute(0, 3, 1, 2).float(), plan))
    pairs = zip(images, plan.contrast.tolist(), plan.brightness.tolist(), strict=True)
    expected = np.stack([multiply_add(image, alpha, beta, inplace=False) for image, alpha, beta in pairs])
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.001


@pytest.mark.parametrize(("hue", "saturation"), [(3, 0), (-4, 0), (0, 11), (0, -12), (4, 12)])
def test_colour_is_that_of_opencv_but_for_its_rounding_of_hue_and_saturation(hue, saturation):
    # OpenCV keeps hue in steps of 2 degrees and saturation in 255; the same function of levels is coarser there.
    images = skin()
    plan = identity(hue=torch.full((N,), float(hue)), saturation=torch.full((N,), float(saturation)))
    found = batch(jitter_colour(torch.from_numpy(images).permute(0, 3, 1, 2).float(), plan))
    apart = np.abs(found - np.stack([shift_hsv(image, hue, saturation, 0) for image in images]).astype(float))
    assert apart.mean() < 1.1
    assert np.quantile(apart, 0.99) <= 4
    rounding = np.abs(images - np.stack([shift_hsv(image, 180, 0, 0) for image in images]).astype(float))
    assert apart.mean() < rounding.mean() + 0.5


def test_grey_stays_grey():
    grey = torch.arange(256.0)[:N, None, None, None].expand(N, 3, SIZE, SIZE)
    plan = identity(hue=torch.full((N,), 3.0), saturation=torch.full((N,), 12.0))
    assert torch.equal(jitter_colour(grey, plan), grey)


def test_the_identity_changes_nothing():
    assert (batch(augment(torch.from_numpy(skin()), identity())) == skin()).all()


def test_augmented_images_vary_as_much_as_albumentations_do():
    image = skin(1)[0]
    one_by_one = train_augmentation(SIZE, 0)
    theirs = np.stack([one_by_one(image) for _ in range(2000)]).astype(float)
    plan = sample_parameters(2000, SIZE, torch.Generator().manual_seed(0))
    ours = batch(augment(torch.from_numpy(image).expand(2000, SIZE, SIZE, 3), plan)).astype(float)
    assert np.abs(ours.mean(0) - theirs.mean(0)).mean() < 2
    assert np.abs(ours.std(0) / theirs.std(0) - 1).mean() < 0.06
    levels = [images.mean((1, 2)).std(0) for images in (ours, theirs)]
    assert np.allclose(levels[0], levels[1], rtol=0.1)


def test_boxes_lie_within_the_image_and_have_the_sizes_asked_for():
    top, left, height, width = sample_parameters(3000, SIZE, torch.Generator().manual_seed(0)).box.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height).max() == SIZE
    assert (left + width).max() == SIZE
    share, ratio = height * width / SIZE**2, width / height
    assert 0.75 - 1 / SIZE <= share.min() < 0.77
    assert share.max() > 0.97
    assert math.log(0.9) - 1.5 / SIZE <= ratio.log().min() <= ratio.log().max() <= math.log(1.1) + 1.5 / SIZE


def test_light_changes_four_times_in_five_and_colour_every_other_time():
    plan = sample_parameters(3000, SIZE, torch.Generator().manual_seed(0))
    assert torch.equal(plan.contrast == 1, plan.brightness == 0)
    for changed, share, most in ((plan.contrast - 1, 0.8, 0.1), (plan.brightness, 0.8, 25.5), (plan.hue, 0.5, 4)):
        assert (changed != 0).float().mean().item() == pytest.approx(share, abs=0.03)
        assert changed.abs().max().item() == pytest.approx(most, rel=0.01)


def test_the_same_seed_samples_the_same_and_another_does_not():
    first, again, other = (sample_parameters(8, SIZE, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(first).items())
    assert not torch.equal(first.box, other.box)
