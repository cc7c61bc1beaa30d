"""Copies of photographs, each changed in one way: what a gate against copies must catch, and is measured by.

Light changes, as a generator that has memorised a photograph or a program that stores it makes them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.files.archives import FORMATS

NOISE = 4.0  # standard deviation, grey levels of 255
CROP = 0.1  # of the side cut off
QUALITY = 75  # of JPEG
LIGHT, CONTRAST = 0.1, 0.15  # by how much brightness and contrast differ, at most

Photograph = UInt8[np.ndarray, "h w 3"]
Pixels = UInt8[np.ndarray, "n h w 3"]
Change = Callable[[Photograph, np.random.Generator], Photograph]


def turned(image: Photograph, rng: np.random.Generator) -> Photograph:
    """Rotated by a multiple of 90 degrees, flipped, or both."""
    turn = int(rng.integers(1, 8))
    rotated = np.rot90(image, turn % 4)
    return np.ascontiguousarray(rotated if turn < 4 else rotated[:, ::-1])  # noqa: PLR2004 - four of the eight


def noisy(image: Photograph, rng: np.random.Generator) -> Photograph:
    """With Gaussian noise."""
    return _bytes(image + rng.normal(0, NOISE, image.shape))


def cropped(image: Photograph, rng: np.random.Generator) -> Photograph:
    """A part of nine tenths of the side anywhere in it, enlarged to the old size."""
    height, width = image.shape[:2]
    h, w = round(height * (1 - CROP)), round(width * (1 - CROP))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    part = np.ascontiguousarray(image[top : top + h, left : left + w])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC))


def jpeg(image: Photograph, rng: np.random.Generator) -> Photograph:
    """Encoded as JPEG and decoded."""
    del rng
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(buffer, formats=FORMATS))


def relit(image: Photograph, rng: np.random.Generator) -> Photograph:
    """Brighter or darker, with more or less contrast."""
    light, contrast = rng.uniform(1 - LIGHT, 1 + LIGHT), rng.uniform(1 - CONTRAST, 1 + CONTRAST)
    mean = image.mean()
    return _bytes((image - mean) * contrast + mean * light)


def all_at_once(image: Photograph, rng: np.random.Generator) -> Photograph:
    """All of these changes, one after the other."""
    for change in (turned, cropped, relit, noisy, jpeg):
        image = change(image, rng)
    return image


CHANGES: Mapping[str, Change] = {
    "rotated or flipped": turned,
    "light noise": noisy,
    "crop of a tenth": cropped,
    "JPEG 75": jpeg,
    "brightness and contrast": relit,
    "all of these at once": all_at_once,
}


def planted(photographs: Pixels, change: str, seed: int = 0) -> Pixels:
    """Each photograph, changed in one of the ways of CHANGES."""
    rng = np.random.default_rng(seed)
    return np.stack([CHANGES[change](image, rng) for image in photographs]) if len(photographs) else photographs


def _bytes(image: np.ndarray) -> Photograph:
    rounded: Photograph = np.clip(image, 0, 255).round().astype(np.uint8)
    return rounded
