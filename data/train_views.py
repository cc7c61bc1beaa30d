"""Random augmentation of training images on the CPU; the only file that uses albumentations."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import cast

import numpy as np
from jaxtyping import UInt8

# Ranges and probabilities; `classify.augmentation` draws from the same ones in batches on the GPU.
AREA, RATIO = (0.75, 1.0), (0.9, 1.1)  # of a crop: its share of the image, its width over its height
BRIGHTNESS, CONTRAST, LIGHT_CHANCE = 0.1, 0.1, 0.8  # shares, up and down
HUE, SATURATION, COLOUR_CHANCE = 4, 12, 0.5  # up and down, of 180 and of 255


def train_augmentation(
    size: int, seed: int
) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "size size 3"]]:
    """A random augmentation: the eight rotations and flips, a light crop, slight changes of light and colour.

    Lesions have no up or down. The n-th call after a seed always draws the same parameters.
    """
    albumentations = _albumentations()
    transforms = albumentations.Compose(
        [
            albumentations.D4(p=1.0),
            albumentations.RandomResizedCrop((size, size), scale=AREA, ratio=RATIO, p=1.0),
            albumentations.RandomBrightnessContrast(
                brightness_limit=BRIGHTNESS, contrast_limit=CONTRAST, p=LIGHT_CHANCE
            ),
            albumentations.HueSaturationValue(
                hue_shift_limit=HUE, sat_shift_limit=SATURATION, val_shift_limit=0, p=COLOUR_CHANCE
            ),
        ],
        seed=seed,
    )

    def augment(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "size size 3"]:
        augmented: UInt8[np.ndarray, "size size 3"] = np.ascontiguousarray(transforms(image=image)["image"])
        return augmented

    return augment


def _albumentations() -> ModuleType:
    """The module, imported on first use: that takes seconds, and only training needs it."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it looks for a newer release over the network
    import albumentations  # noqa: PLC0415 - see above

    return cast("ModuleType", albumentations)
