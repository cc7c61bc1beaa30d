"""Random augmentation of training images on the CPU; the only file that uses albumentations."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import UInt8

# Ranges and probabilities; `classify.augmentation` draws from the same ones in batches on the GPU.
AREA, RATIO = (0.75, 1.0), (0.9, 1.1)  # of a crop: its share of the image, its width over its height
BRIGHTNESS, CONTRAST, LIGHT_CHANCE = 0.1, 0.1, 0.8  # shares, up and down
HUE, SATURATION, COLOUR_CHANCE = 4, 12, 0.5  # up and down, of 180 and of 255
Augmentation = Literal["light", "randaugment"]
_STRONG = 0.81  # largest change of a factor by RandAugment: nine tenths of 0.9


def train_augmentation(
    size: int, seed: int, kind: Augmentation = "light"
) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "size size 3"]]:
    """A random augmentation: the eight rotations and flips, a light crop, slight changes of light and colour.

    Lesions have no up or down. "randaugment" adds two strong operations to each image. The n-th call after a seed
    always draws the same parameters.
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
            *([_randaugment(albumentations)] if kind == "randaugment" else []),
        ],
        seed=seed,
    )

    def augment(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "size size 3"]:
        augmented: UInt8[np.ndarray, "size size 3"] = np.ascontiguousarray(transforms(image=image)["image"])
        return augmented

    return augment


def _randaugment(albumentations: ModuleType) -> Any:  # noqa: ANN401 - a transform of albumentations
    """Two of RandAugment's operations (Cubuk et al. 2020), at up to nine tenths of their largest strength."""
    return albumentations.SomeOf(
        [
            albumentations.AutoContrast(p=1.0),
            albumentations.Equalize(p=1.0),
            albumentations.Solarize(threshold_range=(0.5, 1.0), p=1.0),
            albumentations.Posterize(num_bits=(4, 8), p=1.0),
            albumentations.Sharpen(p=1.0),
            albumentations.ColorJitter(brightness=0, contrast=0, saturation=_STRONG, hue=0, p=1.0),
            albumentations.ColorJitter(brightness=0, contrast=_STRONG, saturation=0, hue=0, p=1.0),
            albumentations.ColorJitter(brightness=_STRONG, contrast=0, saturation=0, hue=0, p=1.0),
            albumentations.Affine(rotate=(-27, 27), p=1.0),
            albumentations.Affine(shear={"x": (-15, 15), "y": (0, 0)}, p=1.0),
            albumentations.Affine(shear={"x": (0, 0), "y": (-15, 15)}, p=1.0),
            albumentations.Affine(translate_percent={"x": (-0.27, 0.27), "y": (-0.27, 0.27)}, p=1.0),
        ],
        n=2,
        p=1.0,
    )


def _albumentations() -> ModuleType:
    """The module, imported on first use: that takes seconds, and only training needs it."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it looks for a newer release over the network
    import albumentations  # noqa: PLC0415 - see above

    return cast("ModuleType", albumentations)
