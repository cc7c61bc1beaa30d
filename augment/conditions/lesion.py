"""The lesion of a photograph as a mask, found by its darkness or read from a file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from augment.conditions.edges import Image, Plane, blurred, luminance
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig, read_image
from data.store import digest, file_sha256

SUFFIX = "_segmentation.png"  # of HAM10000's masks: <image_id>_segmentation.png
_SMOOTH = 1 / 32  # of the image's edge
_NEAR = 0.35  # of the image's edge: the spread of the weight by which parts count less away from the middle


def lesion_mask(pixels: Image) -> Plane:
    """1 in the lesion, else 0: the dark side of Otsu's threshold (1979) of the smoothed darkness.

    Of its connected parts the one with most area near the middle is kept, without holes: dark corners are none.
    """
    dark = 1 - blurred(luminance(pixels), max(1.0, _SMOOTH * len(pixels)))
    spread = float(np.ptp(dark))
    if spread < 2 / 255:  # a flat image
        return np.zeros(dark.shape, np.float32)
    levels = ((dark - dark.min()) / spread * 255).round().astype(np.uint8)
    _, binary = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    count, parts = cv2.connectedComponents(binary)
    near = np.bincount(parts.ravel(), weights=_middle(*dark.shape).ravel(), minlength=count)
    return _without_holes((parts == 1 + int(np.argmax(near[1:]))).astype(np.uint8))


def read_masks(folder: Path, manifest: Manifest, config: PixelConfig) -> UInt8[np.ndarray, "n size size"]:
    """Masks of the manifest's images, 0 or 1, cropped and resized as the images are. Raises DataError."""
    planes = [read_image(path, config)[..., 0] > 127 for path in mask_files(folder, manifest)]  # noqa: PLR2004 - half
    return np.array(planes, np.uint8).reshape(-1, config.size, config.size)


def masks_digest(folder: Path, manifest: Manifest) -> str:
    """SHA-256 of the masks of the manifest's images, wherever the folder lies. Raises DataError."""
    return digest([file_sha256(path) for path in mask_files(folder, manifest)])


def mask_files(folder: Path, manifest: Manifest) -> list[Path]:
    """The files of the manifest's images, in row order. Raises DataError if one is missing."""
    paths = [folder / f"{image_id}{SUFFIX}" for image_id in manifest.table["image_id"]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(paths)} masks are missing, first {missing[0]}; "
            "add them, or leave finetune.masks out"
        )
    return paths


def _middle(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """A weight of 1 in the middle of the image that falls off as a Gaussian."""
    y, x = (np.linspace(-0.5, 0.5, n) for n in (height, width))
    weight: Float[np.ndarray, "h w"] = np.exp(-(y[:, None] ** 2 + x**2) / (2 * _NEAR**2))
    return weight


def _without_holes(mask: UInt8[np.ndarray, "H W"]) -> Plane:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled: Plane = cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED).astype(np.float32)
    return filled
