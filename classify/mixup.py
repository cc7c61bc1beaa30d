"""MixUp and CutMix of a batch with itself in reverse order.

timm's own mixes the targets, and so cannot weigh the loss of each image by its class and kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

CHANCE = 0.5  # of a batch to be mixed at all; half and half where both are on


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A batch whose images are `share` themselves and the rest the image at the same place from the end."""

    images: Float[Tensor, "n 3 h w"]
    share: float


def mix(images: Float[Tensor, "n 3 h w"], mixup: float, cutmix: float, rng: np.random.Generator) -> Mixed:
    """Mix a batch by MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019) with these alphas; 0 turns one off."""
    alphas = [(name, alpha) for name, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha > 0]
    if not alphas or rng.random() >= CHANCE:
        return Mixed(images=images, share=1.0)
    name, alpha = alphas[int(rng.integers(len(alphas)))]
    share, other = float(rng.beta(alpha, alpha)), images.flip(0)
    if name == "mixup":
        return Mixed(images=images.lerp(other, 1 - share), share=share)
    height, width = images.shape[2:]
    top, bottom, left, right = _box(height, width, share, rng)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return Mixed(images=mixed, share=1 - (bottom - top) * (right - left) / (height * width))


def _box(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a box with 1 - `share` of the area, cut off at the border."""
    side = float(np.sqrt(1 - share))
    rows, columns = int(height * side), int(width * side)
    row, column = int(rng.integers(height)), int(rng.integers(width))
    top, left = max(0, row - rows // 2), max(0, column - columns // 2)
    return top, min(height, row + rows // 2), left, min(width, column + columns // 2)
