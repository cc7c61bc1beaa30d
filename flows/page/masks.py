"""A mask that was painted over a photograph in the browser, as a file that `generate.edit.masks` reads."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.durable import replacing
from data.errors import ConfigError
from data.files.archives import FORMATS
from data.manifest import Manifest
from data.masks import ENDINGS
from data.pixels import image_header

_PREFIX = "data:image/png;base64,"
_LARGEST = 2**21  # characters of what a browser sends
_SIDE = 4096  # pixels, at most


def painted(data_uri: str) -> UInt8[np.ndarray, "h w"] | None:
    """The mask in a PNG that the browser sent, 255 where it is painted; None: nothing was sent. Raises ConfigError."""
    if not data_uri:
        return None
    try:
        alpha = _alpha(data_uri)
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as fault:
        raise ConfigError("the painted mask cannot be read; clear it and paint again") from fault
    return np.where(alpha > 0, 255, 0).astype(np.uint8)


def _alpha(data_uri: str) -> UInt8[np.ndarray, "h w"]:
    """The opacity of a PNG in a data: URI. Raises ValueError or what Pillow raises."""
    if not data_uri.startswith(_PREFIX) or len(data_uri) > _LARGEST:
        raise ValueError("no PNG, or a larger one than the page makes")
    data = base64.b64decode(data_uri.removeprefix(_PREFIX), validate=True)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format != "PNG" or max(image.size) > _SIDE:
            raise ValueError("no PNG, or more pixels than the page makes")
        return np.asarray(image.convert("RGBA"))[..., 3]


def write_mask(mask: UInt8[np.ndarray, "h w"] | None, photographs: Manifest, image_id: str, folder: Path) -> None:
    """Write the mask of one photograph at the photograph's own size. Raises ConfigError for an empty or full one."""
    if mask is None or not mask.any():
        raise ConfigError("no mask is painted; paint over what is to be redrawn, or choose another part")
    if mask.all():
        raise ConfigError("the painted mask covers everything; leave some of the photograph, or redraw all of it")
    rows = photographs.where(photographs.table["image_id"] == image_id)
    if not len(rows):
        raise ConfigError(f"photograph {image_id!r}: is none of the class's shots; choose one of these")
    (width, height), _ = image_header(rows.paths()[0])
    whole = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    with replacing(folder / f"{image_id}{ENDINGS[-1]}", on_disk=False) as temporary:
        Image.fromarray(whole).save(temporary, "PNG")
