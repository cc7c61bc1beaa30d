"""Images of 16 bits a channel with all of their bits; Pillow keeps eight of a colour image's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from data.errors import DataError
from data.files.archives import open_file

_BITS_PER_SAMPLE = 258  # TIFF tag
_WIDE = 16


def is_wide(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet stores 16 bits a channel."""
    if image.mode.startswith("I;16"):
        return True
    if isinstance(image, TiffImageFile):
        return bool(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))[0] == _WIDE)
    return any("16B" in str(tile[3]) for tile in getattr(image, "tile", ()))  # a PNG's raw mode


def wide_values(path: Path, image: Image.Image) -> NDArray[np.uint16]:
    """The values as they are stored, [height, width] or with red, green and blue. Raises DataError."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    with open_file(path) as file:
        stored = np.frombuffer(file.read(), np.uint8)
    decoded = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:  # noqa: PLR2004
        raise DataError(f"{path}: its 16 bits a channel cannot be read; export it as 8-bit RGB")
    return np.ascontiguousarray(decoded[..., 2::-1])
