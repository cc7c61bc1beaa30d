"""The train photographs that drawn images are nearest to, with their distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from augment.generate.copies import SIDE, alike
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels

COPY_DISTANCE = 0.2  # planted copies (turned, cropped, recoded, noisy) lie within it: augment/generate/select.py
_MOST = 3  # photographs shown for an image


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """One photograph near to an image."""

    row: int  # of the photographs
    image_id: str
    label: str
    distance: float  # 1 - correlation of detail: 0 for the same photograph, near 1 for one that shares none

    @property
    def is_copy(self) -> bool:
        """Whether the image is as near to it as a changed copy would be."""
        return self.distance <= COPY_DISTANCE


def read_for_comparison(photographs: Manifest, pixels: PixelConfig, cache: Path) -> UInt8[np.ndarray, "n s s 3"]:
    """The photographs at the size in which images are compared, as the gate reads them."""
    compared = PixelConfig(size=min(SIDE, pixels.size), geometry=pixels.geometry)
    return load_pixels(photographs, compared, cache)


def neighbours(
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    photographs: Manifest,
    pixels: UInt8[np.ndarray, "n s s 3"],
    most: int = _MOST,
) -> list[tuple[Neighbour, ...]]:
    """The nearest photographs of each image, the nearest first; `pixels` are theirs, by `read_for_comparison`."""
    if not images:
        return []
    found, table = alike(np.stack(list(images)), pixels), photographs.table
    each = []
    for rows, similarity in zip(found.rows, found.similarity, strict=True):
        order = [place for place in np.argsort(-similarity, kind="stable") if rows[place] >= 0][:most]
        each.append(
            tuple(
                Neighbour(
                    row=int(rows[place]),
                    image_id=str(table["image_id"].iloc[rows[place]]),
                    label=str(table["label"].iloc[rows[place]]),
                    distance=float(1 - similarity[place]),
                )
                for place in order
            )
        )
    return each
