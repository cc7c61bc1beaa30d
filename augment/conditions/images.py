"""Condition images of several photographs, turned and mirrored as the photographs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

VIEWS = 8  # rotations of the square, and their reflections


@dataclass(frozen=True)
class ConditionImages:
    """One condition image a photograph, with 8 bits a channel, as a file would have."""

    pixels: UInt8[np.ndarray, "n H W 3"]
    has_directions: bool = False  # True: a normal map, whose vectors turn with the image

    def __len__(self) -> int:
        return len(self.pixels)

    def turned(self, rows: Sequence[int], views: Sequence[int]) -> Float[Tensor, "n 3 H W"]:
        """These rows in [0, 1], each in one of the eight views of the square."""
        images = [
            turned(self.pixels[row], view, has_directions=self.has_directions)
            for row, view in zip(rows, views, strict=True)
        ]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def turned(image: UInt8[np.ndarray, "H W 3"], view: int, *, has_directions: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """View 0 to 3: rotated by so many quarters, counterclockwise; 4 to 7: and then mirrored left to right."""
    quarters, is_mirrored = view % 4, view >= 4  # noqa: PLR2004 - the rotations
    made = np.rot90(image, quarters)
    if has_directions:
        for _ in range(quarters):  # (right, up) becomes (-up, right)
            made = np.stack([255 - made[..., 1], made[..., 0], made[..., 2]], axis=-1)
    if not is_mirrored:
        return made
    made = made[:, ::-1]
    return np.stack([255 - made[..., 0], made[..., 1], made[..., 2]], axis=-1) if has_directions else made
