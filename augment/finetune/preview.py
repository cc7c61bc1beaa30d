"""A strip of small images, to see by eye how a training gets on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_EDGE = 128  # pixels of one image at most


def write_strip(images: UInt8[np.ndarray, "n H W 3"], path: Path) -> None:
    """Write the images side by side as one JPEG."""
    small = [Image.fromarray(image) for image in images]
    for image in small:
        image.thumbnail((_EDGE, _EDGE))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([np.asarray(i) for i in small], axis=1)).save(buffer, "JPEG", quality=92)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
