"""Images that are broken, by comparison with photographs: not finite, of another size, flat or saturated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

_FLATTEST = 2.0  # standard deviation in grey levels; less is flat whatever the photographs are
_LEAST_SATURATED = 0.2  # share of black or white pixels; less is never a defect
_DARKEST, _BRIGHTEST = 1, 254  # from which on a pixel has no detail, in all three channels


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What photographs of the class do not go beyond."""

    side: int  # pixels
    flat: float  # standard deviation of the pixels, grey levels
    saturated: float  # share of black and white pixels

    @staticmethod
    def of(photographs: UInt8[np.ndarray, "n side side 3"]) -> Limits:
        """Half the smallest contrast of the photographs, and twice their largest share of black and white."""
        contrast = min((float(image.std()) for image in photographs), default=0.0)
        share = max((_saturated(image) for image in photographs), default=0.0)
        return Limits(
            side=photographs.shape[1], flat=max(_FLATTEST, contrast / 2), saturated=max(_LEAST_SATURATED, 2 * share)
        )


def defects(image: NDArray[np.generic], limits: Limits) -> tuple[str, ...]:
    """What is broken about an image as it lies in its file, by name; () for a sound one."""
    if image.shape != (limits.side, limits.side, 3):
        return ("wrong size",)
    pixels = image.astype(np.float64)
    if not np.isfinite(pixels).all():
        return ("not finite",)
    found = {"flat": pixels.std() < limits.flat, "saturated": _saturated(pixels) > limits.saturated}
    return tuple(name for name, is_so in found.items() if is_so)


def _saturated(image: NDArray[np.float64] | NDArray[np.uint8]) -> float:
    black, white = (image <= _DARKEST).all(axis=-1), (image >= _BRIGHTEST).all(axis=-1)
    return float((black | white).mean())
