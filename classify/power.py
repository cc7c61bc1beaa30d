"""What a study can see, from its test part and a usual spread of its classifiers, before anything is trained.

Two arms' hits on one image differ with a variance that has a part by image and one by classifier, which more seeds make
smaller; balanced accuracy averages the classes' means. The finished study's own figure is `Error.smallest_seen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from classify.comparison import LEVEL
from classify.variance import PRIOR_FREEDOM, Error, Part

TARGET = 0.03  # a gain that studies are commonly made for
MOST_SEEDS = 20
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class UsualSpread:
    """Variances as measured: docs/results.md (HAM10000, three seeds) and a run of the demo (two seeds)."""

    seed: float = 0.017  # standard deviation of one classifier's balanced accuracy; 0.005 to 0.022 on HAM10000
    image: float = 0.05  # variance of the difference in hits by image: .06 of HAM10000, .01 to .03 of the demo
    chance: float = 0.13  # variance of one classifier's hit of one image from seed to seed
    together: float = 0.5  # correlation of differences on images of one leakage group


USUAL = UsualSpread()


@dataclass(frozen=True, kw_only=True)
class Support:
    """Images and leakage groups of each class that has any."""

    images: tuple[int, ...]
    groups: tuple[int, ...]

    def times(self, factor: float) -> Support:
        """So many times as large."""
        images, groups = (tuple(round(factor * n) for n in counts) for counts in (self.images, self.groups))
        return Support(images=images, groups=groups)


def smallest_effect(support: Support, seeds: int, *, folds: int = 1, usual: UsualSpread = USUAL) -> float:
    """Difference in balanced accuracy between two arms that 80 % of such studies see.

    `support` is that of all folds together. Draws of the generator are not in it.
    """
    images, groups = np.array(support.images, dtype=float), np.array(support.groups, dtype=float)
    effective = images / (1 + (images / groups - 1) * usual.together)
    by_class = (usual.image / effective + 2 * usual.chance / seeds / images) / len(images) ** 2
    freedom = by_class.sum() ** 2 / (by_class**2 / np.maximum(groups - 1, 1)).sum()
    lesions = Part(name="test lesions", variance=float(by_class.sum()), freedom=float(freedom))
    of_seeds = 2 * usual.seed**2 / seeds / folds
    seeds_freedom = 2 * (seeds - 1 + PRIOR_FREEDOM)
    chance = Part(name="classifier seeds", variance=of_seeds, freedom=seeds_freedom)
    return Error.of(lesions, chance).smallest_seen(LEVEL)


def seeds_needed(support: Support, target: float = TARGET, *, folds: int = 1) -> int | None:
    """Fewest seeds, from two on, that see the target; None where `MOST_SEEDS` do not."""
    seen = partial(smallest_effect, support, folds=folds)
    return next((seeds for seeds in range(2, MOST_SEEDS + 1) if seen(seeds) <= target), None)


def lesions_needed(support: Support, seeds: int, target: float = TARGET) -> float | None:
    """How many times as many test lesions see the target with these seeds; None where ten times as many do not."""
    factors: Sequence[float] = [1 + 0.1 * step for step in range(1, 91)]
    return next((factor for factor in factors if smallest_effect(support.times(factor), seeds) <= target), None)


def in_words(test: Support, whole: Support, seeds: int, *, folds: int = 1, target: float = TARGET) -> str:
    """What the study can see, and what it takes to see the target. `whole`: of all parts, which folds test together."""
    tested = whole if folds > 1 else test
    seen = smallest_effect(tested, seeds, folds=folds)
    text = f"This study can resolve differences of about {100 * seen:.1f} points (80 % power)"
    if seen <= target:
        return f"{text}."
    ways = []
    more = seeds_needed(tested, target, folds=folds)
    if more:
        ways.append(f"{more} seeds")
    in_folds = seeds_needed(whole, target, folds=FOLDS) if folds == 1 else None
    if in_folds:
        ways.append(f"{FOLDS} folds with {in_folds} seeds (split.n_splits={FOLDS})")
    for number in dict.fromkeys((seeds, max(seeds, 5))):
        factor = lesions_needed(tested, number, target)
        if factor:
            ways.append(f"{factor:.1f} times as many test lesions with {number} seeds")
            break
    needed = " or ".join(ways) if ways else f"more than {MOST_SEEDS} seeds and 10 times as many test lesions"
    return f"{text}; to resolve {100 * target:.0f} points you need {needed}."
