"""Learning-rate schedules as functions of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def warm_cosine(steps: int, warmup: int, floor: float = 0.0) -> Callable[[int], float]:
    """Factor of the learning rate: linear from 1/warmup to 1, then a half cosine down to `floor`."""
    warmup = min(warmup, max(1, steps // 4))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        share = min(1.0, (step - warmup) / max(1, steps - warmup))
        return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2

    return factor
