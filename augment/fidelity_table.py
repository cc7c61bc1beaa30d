"""Several sets of images of one class against the same real ones, and one half of these against the other.

The kernel distance is unbiased, so it is that of all images. Precision, recall, density and coverage depend on how many
images are compared, so each is the mean over random draws that have the same number of images in every row; their
standard error is the spread of the draws, which are halves of the sets at most, so it is at least the jackknife's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from augment.fidelity import (
    FEWEST,
    FEWEST_DISTANCE,
    Figure,
    Pair,
    compare_distance,
    coverage,
    density,
    kernel_distance,
    precision,
    recall,
    scale_of,
)

CONTROL = "real"  # one half of the real images against the other
SHARES = (precision, recall, density, coverage)
DISTANCE = kernel_distance.__name__
_NORMAL = 1.96  # standard errors on either side of a 95 % interval
_HIGHEST = {"precision": 1.0, "recall": 1.0, "density": np.inf, "coverage": 1.0}
_FEWEST_DRAWN = 4  # images of a draw: the third neighbour of each is another one


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SetFigures:
    """One row: how many images the set has, and its figures; too few images have no shares, or none at all."""

    images: int
    figures: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class FidelityTable:
    """The rows by name, and the number of images in each draw: of the real ones, and of those compared with them."""

    rows: Mapping[str, SetFigures]
    drawn: tuple[int, int]  # (0, 0): too few for shares


def fidelity_table(
    real: Float[np.ndarray, "n width"],
    sets: Mapping[str, Float[np.ndarray, "m width"]],
    draws: int = 200,
    seed: int = 0,
) -> FidelityTable:
    """Compare each set's features with those of `real`, whose images are independent; the last row is `CONTROL`."""
    rng, scale = np.random.default_rng(seed), scale_of(real)
    real = real / scale
    enough = {name: features for name, features in sets.items() if min(len(real), len(features)) >= FEWEST_DISTANCE}
    compared = {name: features / scale for name, features in enough.items()}
    figures: dict[str, dict[str, Interval]] = {name: {} for name in (*sets, CONTROL)}
    for name, features in compared.items():
        figures[name][DISTANCE] = _interval(compare_distance(real, features, draws, seed))
    if len(real) >= 2 * FEWEST_DISTANCE:
        figures[CONTROL][DISTANCE] = _control_distance(real, draws, rng)
    drawn = _drawn(real, compared)
    if drawn[1]:
        for name, features in {**compared, CONTROL: real}.items():
            figures[name] |= _shares(real, features, drawn, draws, is_control=name == CONTROL)
    sizes = {**{name: len(features) for name, features in sets.items()}, CONTROL: len(real)}
    return FidelityTable(
        rows={name: SetFigures(images=sizes[name], figures=found) for name, found in figures.items()}, drawn=drawn
    )


def _drawn(real: Float[np.ndarray, "n width"], sets: Mapping[str, Float[np.ndarray, "m width"]]) -> tuple[int, int]:
    """Images of a draw: half of the real ones, and of the others as many as half of the smallest set has."""
    smallest = min((len(features) for features in (real, *sets.values())), default=0)
    return (len(real) // 2, smallest // 2) if len(real) >= FEWEST and smallest // 2 >= _FEWEST_DRAWN else (0, 0)


def _shares(
    real: Float[np.ndarray, "n width"],
    other: Float[np.ndarray, "m width"],
    drawn: tuple[int, int],
    draws: int,
    *,
    is_control: bool,
) -> dict[str, Interval]:
    """Means over the draws; the same real images are drawn for every row. The control's images are the other half."""
    pair = Pair.of(real, other, _FEWEST_DRAWN)
    rng, rng_other = np.random.default_rng(0), np.random.default_rng(1)
    parts = []
    for _ in range(draws):
        order = rng.permutation(len(real))
        chosen = order[drawn[0] :] if is_control else rng_other.permutation(len(other))
        parts.append(pair.part(order[: drawn[0]], chosen[: drawn[1]]))
    found = {share.__name__: np.array([share(part) for part in parts]) for share in SHARES}
    return {
        name: _interval(Figure(value=float(values.mean()), halves=values), low=0.0, high=_HIGHEST[name])
        for name, values in found.items()
    }


def _control_distance(real: Float[np.ndarray, "n width"], draws: int, rng: np.random.Generator) -> Interval:
    """The kernel distance of one half of the real images to the other: 0 on average, and the range of the draws."""
    pair, half = Pair.of(real, real), len(real) // 2
    orders = [rng.permutation(len(real)) for _ in range(draws)]
    values = [kernel_distance(pair.part(order[:half], order[half : 2 * half])) for order in orders]
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(value=float(np.mean(values)), low=float(low), high=float(high))


def _interval(figure: Figure, low: float = -np.inf, high: float = np.inf) -> Interval:
    """Value and 1.96 standard errors on either side, within bounds."""
    ends = np.clip([figure.value - _NORMAL * figure.error, figure.value + _NORMAL * figure.error], low, high)
    return Interval(value=figure.value, low=float(ends[0]), high=float(ends[1]))
