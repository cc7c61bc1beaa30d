"""From probabilities to the summary's figures; the statistics themselves are classify's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from classify.comparison import estimate_arm, estimate_difference
from classify.metrics import score, wilson
from classify.seed_variance import SeedVariance, seed_variance_of
from reports.schema import Change, Difference, Recall, Score, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from classify.comparison import Estimate

_AGAINST = ("oversampled", "real", "synthetic")  # what an arm of another name is compared with
_HEADLINES = (("synthetic", "oversampled"), ("synthetic", "real"), ("oversampled", "real"))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The test part and what each arm's classifiers named its images: class numbers [seeds, images]."""

    truth: NDArray[np.int64]
    groups: NDArray[np.str_]
    classes: tuple[str, ...]
    seeds: tuple[str, ...]
    named: Mapping[str, NDArray[np.int64]]  # arm ->
    seeds_vary: bool = True  # False: intervals leave out what other seeds of the classifiers might have given

    @cached_property
    def spread(self) -> SeedVariance | None:
        """How far classifiers of one arm lie apart; None where that is left out, or each arm has one seed."""
        return seed_variance_of(self.truth, list(self.named.values()), len(self.classes)) if self.seeds_vary else None

    def balanced_accuracy(self, arm: str) -> Score:
        """Balanced accuracy of an arm."""
        found = estimate_arm(self.truth, self.named[arm], self.groups, len(self.classes), spread=self.spread)
        return self._score(found.balanced_accuracy, found.by_seed)

    def weighted_recall(self, arm: str) -> Score:
        """Recall weighted by support: that of a single class which holds every image; the other class is "wrong"."""
        one = np.zeros_like(self.truth)
        wrong = {each: (named != self.truth).astype(np.int64) for each, named in self.named.items()}
        spread = seed_variance_of(one, list(wrong.values()), 2) if self.spread else None
        found = estimate_arm(one, wrong[arm], self.groups, 2, spread=spread)
        return self._score(found.balanced_accuracy, found.by_seed)

    def recalls(self, arm: str) -> dict[str, Recall]:
        """Recall of each class in an arm."""
        scores = [score(self.truth, named, len(self.classes)) for named in self.named[arm]]
        recalls = {}
        for k, label in enumerate(self.classes):
            seeds = [s.recalls[k] for s in scores]
            n, hits = seeds[0].n, sum(s.hits for s in seeds) / len(seeds)
            recalls[label] = Recall(
                mean=hits / n if n else None,
                low=known(wilson(math.floor(hits), n).low),
                high=known(wilson(math.ceil(hits), n).high),
                per_seed={seed: known(s.value) for seed, s in zip(self.seeds, seeds, strict=True)},
                varied="the class's test images, each taken as drawn by itself (Wilson's interval); the seeds are "
                "averaged, not drawn",
                images=n,
                groups=len(np.unique(self.groups[self.truth == k])),
            )
        return recalls

    def confusion(self, arm: str) -> tuple[tuple[int, ...], ...]:
        """Images by true class and named class, summed over the seeds."""
        summed = sum(score(self.truth, named, len(self.classes)).confusion for named in self.named[arm])
        return tuple(tuple(int(n) for n in row) for row in np.asarray(summed))

    def differences(self) -> tuple[Difference, ...]:
        """The comparisons that the arms allow, the headline first."""
        known = {arm for pair in _HEADLINES for arm in pair}
        others = [(arm, second) for arm in self.named if arm not in known for second in _AGAINST]
        pairs = [pair for pair in (*_HEADLINES[:2], *others, *_HEADLINES[2:]) if set(pair) <= set(self.named)]
        return tuple(self.difference(*pair) for pair in pairs or [(b, a) for a, b in pairwise(self.named)])

    def difference(self, first: str, second: str) -> Difference:
        """Balanced accuracy of `first` less that of `second`."""
        found = estimate_difference(
            self.truth, self.named[second], self.named[first], self.groups, len(self.classes), spread=self.spread
        )  # its order is before, after
        whole = found.balanced_accuracy
        changes = (Change(mean=known(e.value), low=known(e.low), high=known(e.high)) for e in found.recalls)
        return Difference(
            first=first,
            second=second,
            mean=known(whole.value),
            low=known(whole.low),
            high=known(whole.high),
            per_seed={seed: known(v) for seed, v in zip(self.seeds, found.by_seed, strict=True)},
            verdict=verdict(known(whole.low), known(whole.high)),
            by_class=dict(zip(self.classes, changes, strict=True)),
            varied=whole.varied,
        )

    def _score(self, found: Estimate, by_seed: Sequence[float]) -> Score:
        return Score(
            mean=known(found.value),
            low=known(found.low),
            high=known(found.high),
            per_seed={seed: known(v) for seed, v in zip(self.seeds, by_seed, strict=True)},
            varied=found.varied,
        )


def verdict(low: float | None, high: float | None) -> Verdict:
    """What a difference's interval allows to say."""
    if low is None or high is None:
        return "undefined"
    return "higher" if low > 0 else "lower" if high < 0 else "unclear"


def known(value: float) -> float | None:
    """The value, or None where it is not defined."""
    return None if math.isnan(value) else float(value)
