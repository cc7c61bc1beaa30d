"""Pictures as they are shown: within the HTML, at a size for the eye, synthetic ones with the mark in their pixels."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment.generate.mark import metadata, stamped

_SHOWN = 256  # least pixels a side of a synthetic image; small ones are enlarged, so that the mark covers little
Pixels = UInt8[np.ndarray, "h w 3"]


def synthetic_uri(image: Pixels) -> str:
    """A synthetic image with the mark."""
    buffer = io.BytesIO()
    Image.fromarray(stamped(resized(image, max(_SHOWN, image.shape[0])))).save(
        buffer, "JPEG", quality=92, **metadata("JPEG")
    )
    return _uri("jpeg", buffer.getvalue())


def photograph_uri(image: Pixels, side: int | None = None) -> str:
    """A photograph of this side; None: as it is."""
    buffer = io.BytesIO()
    Image.fromarray(image if side is None else resized(image, side)).save(buffer, "JPEG", quality=90)
    return _uri("jpeg", buffer.getvalue())


def jpeg_uri(data: bytes) -> str:
    """A file that is a JPEG already, such as a preview."""
    return _uri("jpeg", data)


def resized(image: Pixels, side: int) -> Pixels:
    """A square image at another size."""
    if image.shape[0] == side:
        return image
    way = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=way))


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
