"""What an arm is worth in photographs: its place on the curve of balanced accuracy over photographs a rare class.

Arms of real images that differ in the number of photographs a rare class give points of the curve. It is taken as
rising (isotonic regression, weighted by each point's variance) and as straight between points over the logarithm of the
number. The interval comes from joint errors of all arms: they are tested on the same lesions, so most of the lesions'
error is common to the curve and to the arm that is placed on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression

from classify.comparison import LEVEL, Comparison
from classify.variance import error_of

DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Photographs a rare class with which real images alone would do as well. None: outside the curve."""

    value: float | None
    low: float | None
    high: float | None
    is_below: bool  # whether a value of None lies below the curve, not above it
    low_is_above: bool  # whether even the interval's low end lies above the curve
    high_is_below: bool  # whether even its high end lies below
    curve: tuple[tuple[float, float], ...]  # photographs, figure: the rising curve


def worth(comparison: Comparison, photographs: Mapping[str, float], arm: str, figure: int, *, seed: int = 0) -> Worth:
    """Place of an arm's figure on the curve of the arms in `photographs`. Raises ValueError for fewer than two."""
    names = sorted(photographs, key=lambda name: photographs[name])
    numbers, at = np.unique([photographs[name] for name in names], return_inverse=True)
    if len(numbers) < 2:  # noqa: PLR2004 - a curve has two ends
        raise ValueError(f"{len(names)} arms make no curve; give two or more numbers of photographs")
    members = [*names, arm]
    values = np.array([comparison.figures(name).means[figure] for name in members])
    covariance = _covariance(comparison, members, figure)
    weights = 1 / np.maximum(np.diag(covariance)[:-1], 1e-8)
    curve = _rising(values[:-1], weights, at)
    rng = np.random.default_rng(seed)
    drawn = values + _errors(comparison, members, figure, covariance, rng)
    places = np.array([_place(row[-1], numbers, _rising(row[:-1], weights, at)) for row in drawn])
    low, high = np.quantile(places, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    value = _place(values[-1], numbers, curve)
    return Worth(
        value=_in_curve(value),
        low=_in_curve(low),
        high=_in_curve(high),
        is_below=bool(value == -np.inf),
        low_is_above=bool(low == np.inf),
        high_is_below=bool(high == -np.inf),
        curve=tuple(zip(numbers.tolist(), curve.tolist(), strict=True)),
    )


def _rising(
    values: Float[np.ndarray, " arms"], weights: Float[np.ndarray, " arms"], at: Int[np.ndarray, " arms"]
) -> Float[np.ndarray, " numbers"]:
    """The curve that rises; arms with the same number of photographs are one point of it."""
    whole = np.bincount(at, weights)
    risen: Float[np.ndarray, " numbers"] = isotonic_regression(
        np.bincount(at, weights * values) / whole, weights=whole
    ).x
    return risen


def _covariance(comparison: Comparison, members: Sequence[str], figure: int) -> Float[np.ndarray, "arms arms"]:
    """Lesions' covariance of the arms' figures; each arm's own variance by seeds and draws is added."""
    figures = [comparison.figures(name) for name in members]
    influences = np.stack([each.influences[figure].mean(axis=(0, 1)) for each in figures])
    own = [
        sum(part.variance for part in error_of([(1.0, each)], figure, comparison.layout).parts[1:]) for each in figures
    ]
    covariance: Float[np.ndarray, "arms arms"] = influences @ influences.T + np.diag(own)
    return covariance


def _errors(
    comparison: Comparison,
    members: Sequence[str],
    figure: int,
    covariance: Float[np.ndarray, "arms arms"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draws arms"]:
    """Joint errors: multivariate t with the fewest degrees of freedom of the arms' differences to the last one."""
    *others, arm = [comparison.figures(name) for name in members]
    freedom = min(
        error_of([(1.0, arm), (-1.0, each)], figure, comparison.layout).freedom for each in others if each is not arm
    )
    normal = rng.multivariate_normal(np.zeros(len(members)), covariance, DRAWS, method="svd")
    errors: Float[np.ndarray, "draws arms"] = normal / np.sqrt(rng.chisquare(freedom, (DRAWS, 1)) / freedom)
    return errors


def _place(value: float, numbers: Float[np.ndarray, " arms"], curve: Float[np.ndarray, " arms"]) -> float:
    """Number at which the curve reaches the value; the middle of a flat stretch; infinite outside the curve."""
    if value < curve[0]:
        return -np.inf
    if value > curve[-1]:
        return np.inf
    at = np.log2(numbers)
    first = int(np.searchsorted(curve, value, side="left"))
    last = int(np.searchsorted(curve, value, side="right"))
    if last > first:  # the curve has this value itself, at one point or along a flat stretch
        return float(2 ** ((at[first] + at[last - 1]) / 2))
    share = (value - curve[first - 1]) / (curve[first] - curve[first - 1])
    return float(2 ** (at[first - 1] + share * (at[first] - at[first - 1])))


def _in_curve(place: float) -> float | None:
    return float(place) if np.isfinite(place) else None
