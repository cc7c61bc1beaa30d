"""From predictions to the summary's figures; the statistics themselves are classify's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from classify.comparison import estimate_arm, estimate_difference
from classify.metrics import score, wilson
from classify.seed_variance import SeedVariance, seed_variance_of
from reports.schema import Difference, Interval, RecallScore, Score, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from classify.comparison import Estimate


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The test part and each arm's predictions of it: class numbers [seeds, images]."""

    truth: NDArray[np.int64]
    groups: NDArray[np.str_]
    classes: tuple[str, ...]
    seeds: tuple[str, ...]
    predicted: Mapping[str, NDArray[np.int64]]  # arm ->
    seeds_vary: bool = True  # False: intervals leave out what other seeds of the classifiers might have given

    @cached_property
    def seed_variance(self) -> SeedVariance | None:
        """How far classifiers of one arm lie apart; None where that is left out, or each arm has one seed."""
        arms = list(self.predicted.values())
        return seed_variance_of(self.truth, arms, len(self.classes)) if self.seeds_vary else None

    @property
    def without_images(self) -> tuple[str, ...]:
        """Classes that have no test image."""
        return tuple(label for k, label in enumerate(self.classes) if not (self.truth == k).any())

    def balanced_accuracy(self, arm: str) -> Score:
        """Balanced accuracy of an arm."""
        found = estimate_arm(
            self.truth, self.predicted[arm], self.groups, len(self.classes), seed_variance=self.seed_variance
        )
        return self._score(found.balanced_accuracy, found.by_seed)

    def weighted_recall(self, arm: str) -> Score:
        """Recall weighted by support: that of a single class which holds every image; the other class is "wrong"."""
        one = np.zeros_like(self.truth)
        wrong = {each: (predicted != self.truth).astype(np.int64) for each, predicted in self.predicted.items()}
        variance = seed_variance_of(one, list(wrong.values()), 2) if self.seed_variance else None
        found = estimate_arm(one, wrong[arm], self.groups, 2, seed_variance=variance)
        return self._score(found.balanced_accuracy, found.by_seed)

    def recalls(self, arm: str) -> dict[str, RecallScore]:
        """Recall of each class in an arm."""
        scores = [score(self.truth, predicted, len(self.classes)) for predicted in self.predicted[arm]]
        recalls = {}
        for k, label in enumerate(self.classes):
            seeds = [s.recalls[k] for s in scores]
            n, hits = seeds[0].n, sum(s.hits for s in seeds) / len(seeds)
            recalls[label] = RecallScore(
                mean=hits / n if n else None,
                low=none_if_nan(wilson(math.floor(hits), n).low),
                high=none_if_nan(wilson(math.ceil(hits), n).high),
                per_seed={seed: none_if_nan(s.value) for seed, s in zip(self.seeds, seeds, strict=True)},
                varied="the class's test images, each taken as drawn by itself (Wilson's interval); the seeds are "
                "averaged, not drawn",
                images=n,
                groups=len(np.unique(self.groups[self.truth == k])),
            )
        return recalls

    def confusion(self, arm: str) -> tuple[tuple[int, ...], ...]:
        """Images by true class and predicted class, summed over the seeds."""
        summed = sum(score(self.truth, row, len(self.classes)).confusion for row in self.predicted[arm])
        return tuple(tuple(int(n) for n in row) for row in np.asarray(summed))

    def differences(self, pairs: Iterable[tuple[str, str]]) -> tuple[Difference, ...]:
        """The first arm of each pair less the second."""
        return tuple(self.difference(*pair) for pair in pairs)

    def difference(self, first: str, second: str) -> Difference:
        """Balanced accuracy of `first` less that of `second`."""
        before, after = self.predicted[second], self.predicted[first]
        found = estimate_difference(
            self.truth, before, after, self.groups, len(self.classes), seed_variance=self.seed_variance
        )
        whole = _interval(found.balanced_accuracy)
        return Difference(
            first=first,
            second=second,
            mean=whole.mean,
            low=whole.low,
            high=whole.high,
            per_seed=self._by_seed(found.by_seed),
            verdict=verdict(whole.low, whole.high),
            by_class=dict(zip(self.classes, map(_interval, found.recalls), strict=True)),
            varied=found.balanced_accuracy.varied,
        )

    def _score(self, found: Estimate, by_seed: Sequence[float]) -> Score:
        whole = _interval(found)
        return Score(
            mean=whole.mean, low=whole.low, high=whole.high, per_seed=self._by_seed(by_seed), varied=found.varied
        )

    def _by_seed(self, values: Sequence[float]) -> dict[str, float | None]:
        return {seed: none_if_nan(value) for seed, value in zip(self.seeds, values, strict=True)}


def verdict(low: float | None, high: float | None) -> Verdict:
    """The verdict that a difference's interval allows."""
    if low is None or high is None:
        return "undefined"
    return "higher" if low > 0 else "lower" if high < 0 else "unclear"


def none_if_nan(value: float) -> float | None:
    """The value, or None where it is not defined."""
    return None if math.isnan(value) else float(value)


def _interval(found: Estimate) -> Interval:
    return Interval(mean=none_if_nan(found.value), low=none_if_nan(found.low), high=none_if_nan(found.high))
