"""The makers of condition images by name, and what a method asks them for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from augment.conditions.edges import Image, canny, lines, scribble, soft_edge
from augment.conditions.hed import hed, weights_file
from augment.conditions.images import ConditionImages
from augment.conditions.relief import depth, mask_depth, normal
from data.manifest import Manifest
from data.masks import mask_folder, masks_identity, read_masks, threshold_mask
from data.pixels import PixelConfig
from data.store import digest, file_sha256

ConditionName = Literal["mask", "mask-depth", "canny", "soft-edge", "hed", "scribble", "lines", "depth", "normal"]
OF_MASKS = ("mask", "mask-depth")  # those that can be made of a mask's file

# A maker gives one plane in [0, 1], or three.
CONDITIONS: Mapping[ConditionName, Callable[[Image], Float[np.ndarray, "H W *planes"]]] = {
    "mask": lambda pixels: np.asarray(threshold_mask(pixels), np.float32),
    "mask-depth": lambda pixels: mask_depth(np.asarray(threshold_mask(pixels), np.float32)),
    "canny": canny,
    "soft-edge": soft_edge,
    "hed": hed,  # the only one that needs another package
    "scribble": scribble,
    "lines": lines,
    "depth": depth,
    "normal": normal,
}


@dataclass(frozen=True)
class ConditionSource:
    """What is made of each photograph."""

    name: ConditionName
    masks: str | None = None  # folder of masks (`data.masks`), in place of masks that are found

    def identity(self, manifest: Manifest) -> dict[str, str]:
        """What the condition images depend on beside the photographs.

        Raises DataError for a missing mask, ConfigError for a missing package.
        """
        if self.name == "hed":
            return {"hed": file_sha256(weights_file())}
        return {} if self.masks is None else {"masks": digest(masks_identity(mask_folder(self.masks), manifest))}

    def images(self, pixels: UInt8[np.ndarray, "n H W 3"], manifest: Manifest, config: PixelConfig) -> ConditionImages:
        """The condition images of the manifest's photographs, whose pixels these are. Raises DataError."""
        if self.masks is None:
            return ConditionImages(np.stack([condition_pixels(self.name, each) for each in pixels]), self._directed)
        planes = read_masks(mask_folder(self.masks), manifest, config).astype(np.float32)
        made = planes if self.name == "mask" else [mask_depth(plane) for plane in planes]
        return ConditionImages(np.stack([_with_8_bits(plane) for plane in made]))

    @property
    def _directed(self) -> bool:
        return self.name == "normal"


def condition(name: ConditionName, pixels: Image) -> Float[np.ndarray, "H W 3"]:
    """The condition image of a photograph, in [0, 1]; of a maker with one plane it is grey."""
    made = CONDITIONS[name](pixels)
    return np.repeat(made[..., None], 3, axis=-1) if made.ndim == 2 else made  # noqa: PLR2004 - one plane


def condition_pixels(name: ConditionName, pixels: Image) -> UInt8[np.ndarray, "H W 3"]:
    """The same with 8 bits a channel."""
    return _with_8_bits(condition(name, pixels))


def _with_8_bits(made: Float[np.ndarray, "H W *planes"]) -> UInt8[np.ndarray, "H W 3"]:
    levels = (made * 255).round().astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1) if levels.ndim == 2 else levels  # noqa: PLR2004 - one plane
