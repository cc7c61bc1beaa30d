"""Balanced accuracy, plain accuracy and recalls of arms, and differences between arms, each with its interval.

Errors on images of one leakage group (a patient, a lesion, near-duplicates) are correlated, so variances are those of
whole groups; a difference is taken on the same groups, so their effects cancel. What else varies is said by
`classify.variance`, and every figure says what its interval holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from classify.tested import BALANCED, FIRST_RECALL, WEIGHTED, ArmFigures, Layout, Tested, arm_figures
from classify.variance import Error, error_of

LEVEL = 0.95
_Z = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval. All three are NaN for a class without a test image."""

    value: float
    low: float
    high: float
    n: int  # images that it rests on, in one repeat
    groups: int  # leakage groups that it rests on, in all repeats
    error: Error


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Figures of an arm, or the difference of two arms in each of them."""

    balanced_accuracy: Estimate
    weighted_recall: Estimate  # plain accuracy
    recalls: tuple[Estimate, ...]  # by class
    by_seed: tuple[float, ...]  # balanced accuracy by repeat and seed (of each pair of equal rank, for a difference)
    weighted_by_seed: tuple[float, ...]
    recalls_by_seed: tuple[tuple[float, ...], ...]  # by class


@dataclass(frozen=True)
class Comparison:
    """All arms of a study's repeats."""

    repeats: tuple[Tested, ...]
    n_classes: int
    seeds_vary: bool = True  # False: intervals leave out what other seeds and draws might have given
    _figures: dict[str, ArmFigures] = field(default_factory=dict, compare=False)

    @cached_property
    def layout(self) -> Layout:
        """What the test parts have in common."""
        return Layout.of(self.repeats, self.n_classes)

    def figures(self, arm: str) -> ArmFigures:
        """The arm's figures by repeat and seed."""
        if arm not in self._figures:
            self._figures[arm] = arm_figures(self.repeats, arm, self.layout)
        return self._figures[arm]

    def arm(self, arm: str) -> Estimates:
        """An arm's figures, averaged over its seeds and the repeats."""
        own = self.figures(arm)
        estimates = [self._share(own, figure) for figure in range(FIRST_RECALL + self.n_classes)]
        return _estimates(estimates, own.values)

    def difference(self, first: str, second: str) -> Estimates:
        """`first` less `second`."""
        one, other = self.figures(first), self.figures(second)
        estimates = [self._difference(one, other, figure) for figure in range(FIRST_RECALL + self.n_classes)]
        pairs = min(one.values.shape[1], other.values.shape[1])
        return _estimates(estimates, one.values[:, :pairs] - other.values[:, :pairs])

    def _share(self, own: ArmFigures, figure: int) -> Estimate:
        """A share with bounds for its effective number of images (Korn and Graubard 1998)."""
        value = float(own.means[figure])
        error = error_of([(1.0, own)], figure, self.layout, seeds_vary=self.seeds_vary)
        return self._estimate(value, _share_bounds(value, error, int(self.layout.holders[figure])), figure, error)

    def _difference(self, one: ArmFigures, other: ArmFigures, figure: int) -> Estimate:
        value = float(one.means[figure] - other.means[figure])
        error = error_of([(1.0, one), (-1.0, other)], figure, self.layout, seeds_vary=self.seeds_vary)
        half = error.half_width(LEVEL)
        low, high = max(value - half, -1.0), min(value + half, 1.0)
        if figure >= FIRST_RECALL and {one.means[figure], other.means[figure]} & {0.0, 1.0}:
            low, high = self._bounds_at_an_end(one, other, figure)
        return self._estimate(value, (low, high), figure, error)

    def _bounds_at_an_end(self, one: ArmFigures, other: ArmFigures, figure: int) -> tuple[float, float]:
        """Bounds where an arm finds none or all: from both arms' own (Newcombe 1998, method 10)."""
        first, second = self._share(one, figure), self._share(other, figure)
        value = first.value - second.value
        low = value - float(np.hypot(first.value - first.low, second.high - second.value))
        high = value + float(np.hypot(first.high - first.value, second.value - second.low))
        return max(low, -1.0), min(high, 1.0)

    def _estimate(self, value: float, bounds: tuple[float, float], figure: int, error: Error) -> Estimate:
        low, high = (np.nan, np.nan) if np.isnan(value) else bounds
        return Estimate(
            value=value,
            low=float(low),
            high=float(high),
            n=int(self.layout.images[:, figure].max()),
            groups=int(self.layout.holders[figure]),
            error=error,
        )


def _share_bounds(value: float, error: Error, groups: int) -> tuple[float, float]:
    """Wilson's bounds for as many images as would have this error; for a share of 0 or 1, for the number of groups."""
    if np.isnan(value):
        return np.nan, np.nan
    half, spread = error.half_width(LEVEL), value * (1 - value)
    n = spread * (_Z / half) ** 2 if spread > 0 and half > 0 else float(groups)
    if spread > 0 and half <= 0:  # no error is known: every group alike
        return value, value
    centre = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    around = _Z * float(np.sqrt(spread / n + _Z**2 / (4 * n**2))) / (1 + _Z**2 / n)
    # The ends are exact at 0 and 1; rounding would put them slightly outside.
    return 0.0 if value <= 0 else centre - around, 1.0 if value >= 1 else centre + around


def _estimates(estimates: Sequence[Estimate], values: Float[np.ndarray, "repeats seeds figures"]) -> Estimates:
    rows = values.reshape(-1, values.shape[2])
    return Estimates(
        balanced_accuracy=estimates[BALANCED],
        weighted_recall=estimates[WEIGHTED],
        recalls=tuple(estimates[FIRST_RECALL:]),
        by_seed=tuple(rows[:, BALANCED].tolist()),
        weighted_by_seed=tuple(rows[:, WEIGHTED].tolist()),
        recalls_by_seed=tuple(tuple(column) for column in rows[:, FIRST_RECALL:].T.tolist()),
    )
