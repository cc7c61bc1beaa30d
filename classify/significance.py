"""Tests of significance beside the intervals: McNemar's for two arms' predictions, Holm's correction for several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.stats import binomtest


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Images that one of two arms alone classified correctly, and the exact test of their numbers (McNemar 1947).

    It takes images as independent and the classifiers as given: lesions, seeds and draws are not in it.
    """

    first_alone: int
    second_alone: int
    p_value: float


def mcnemar(truth: Int[np.ndarray, " n"], first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"]) -> McNemar:
    """The exact test, two-sided; 1 where the arms differ on no image."""
    right, other = first == truth, second == truth
    one, two = int((right & ~other).sum()), int((other & ~right).sum())
    p_value = float(binomtest(one, one + two).pvalue) if one + two else 1.0
    return McNemar(first_alone=one, second_alone=two, p_value=p_value)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P values of a family, adjusted so that one in twenty families errs at 0.05 (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return tuple(adjusted)
