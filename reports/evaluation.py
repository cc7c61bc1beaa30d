"""From predictions to the summary's figures; the statistics themselves are classify's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from classify.comparison import LEVEL, Comparison
from classify.metrics import confusion_matrix
from classify.significance import holm, mcnemar
from reports.schema import Difference, Found, Interval, RecallScore, Score, VariancePart, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from classify.comparison import Estimate
    from classify.tested import Tested

_NAMES = {"test lesions": "lesions of the test part", "classifier seeds": "the classifiers’ seeds"}
_DRAWS = {
    "generators": "the generator’s draw",
    "studies": "the draw of split, few-shot images and generator",
    "folds": "the folds, each with few-shot images and generators of its own",
}
_FIXED = {
    "one": "another split, other few-shot images and another generator",
    "generators": "another split and other few-shot images",
    "studies": "",
    "folds": "another division into folds",
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The test part of each repeat with every arm's probabilities. A single run is one repeat."""

    repeats: tuple[Tested, ...]
    classes: tuple[str, ...]
    seeds: tuple[str, ...]
    seeds_vary: bool = True  # False: intervals leave out what other seeds of the classifiers might have given

    @cached_property
    def comparison(self) -> Comparison:
        """The statistics of all repeats."""
        return Comparison(self.repeats, len(self.classes), self.seeds_vary)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms' names."""
        return tuple(self.repeats[0].probabilities)

    @property
    def images(self) -> int:
        """Images in the test part of a repeat; the largest number where repeats differ."""
        return max(len(each.truth) for each in self.repeats)

    @property
    def groups(self) -> int:
        """Leakage groups that any repeat tests."""
        return self.comparison.layout.n_groups

    @property
    def without_images(self) -> tuple[str, ...]:
        """Classes that some repeat has no test image of."""
        return tuple(
            label for k, label in enumerate(self.classes) if not all((each.truth == k).any() for each in self.repeats)
        )

    @property
    def commonest(self) -> float:
        """Plain accuracy of always naming the commonest class of the test part."""
        counts = [np.bincount(each.truth).max() / len(each.truth) for each in self.repeats]
        return float(np.mean(counts))

    def balanced_accuracy(self, arm: str) -> Score:
        """Balanced accuracy of an arm."""
        found = self.comparison.arm(arm)
        return self._score(found.balanced_accuracy, found.by_seed)

    def weighted_recall(self, arm: str) -> Score:
        """Recall weighted by support, which is plain accuracy."""
        found = self.comparison.arm(arm)
        return self._score(found.weighted_recall, found.weighted_by_seed)

    def recalls(self, arm: str) -> dict[str, RecallScore]:
        """Recall of each class in an arm."""
        found = self.comparison.arm(arm)
        rows = zip(self.classes, found.recalls, found.recalls_by_seed, strict=True)
        return {
            label: RecallScore(
                **vars(self._score(estimate, by_seed)),
                images=estimate.n,
                groups=estimate.groups if estimate.n else 0,
            )
            for label, estimate, by_seed in rows
        }

    def ensemble(self, arm: str) -> Score:
        """Balanced accuracy of the probabilities averaged over an arm's seeds; its one member leaves out the seeds."""
        averaged = tuple(
            replace(each, probabilities={arm: each.probabilities[arm].mean(axis=0, keepdims=True)})
            for each in self.repeats
        )
        whole = Evaluation(repeats=averaged, classes=self.classes, seeds=("averaged",), seeds_vary=self.seeds_vary)
        return whole.balanced_accuracy(arm)

    def confusion(self, arm: str) -> tuple[tuple[int, ...], ...]:
        """Images by true class and predicted class, summed over seeds and repeats."""
        n = len(self.classes)
        summed = sum(confusion_matrix(each.truth, row, n) for each in self.repeats for row in each.predicted(arm))
        return tuple(tuple(int(count) for count in row) for row in np.asarray(summed))

    def differences(self, pairs: Iterable[tuple[str, str]], claimed: int | None = None) -> tuple[Difference, ...]:
        """The first arm of each pair less the second; p values adjusted over the first `claimed` pairs, or all."""
        found = [self.difference(*pair) for pair in pairs]
        family = [each for each in found[:claimed] if each.p_value is not None]
        adjusted = holm([each.p_value for each in family if each.p_value is not None])
        by_pair = {(each.first, each.second): p for each, p in zip(family, adjusted, strict=True)}
        return tuple(replace(each, p_holm=by_pair.get((each.first, each.second))) for each in found)

    def difference(self, first: str, second: str) -> Difference:
        """Balanced accuracy of `first` less that of `second`."""
        found = self.comparison.difference(first, second)
        estimate = found.balanced_accuracy
        whole, error = _interval(estimate), estimate.error
        is_defined = whole.mean is not None
        return Difference(
            **vars(whole),
            first=first,
            second=second,
            per_seed=self._by_seed(found.by_seed),
            verdict=verdict(whole.low, whole.high),
            by_class=dict(zip(self.classes, map(_interval, found.recalls), strict=True)),
            varied=self._varied(estimate),
            parts=_parts(estimate),
            smallest=error.smallest_seen(LEVEL) if is_defined and error.standard > 0 else None,
            p_value=error.p_value(estimate.value) if is_defined else None,
            mcnemar=tuple(
                mcnemar(each.truth, *(each.probabilities[arm].mean(axis=0).argmax(axis=1) for arm in (first, second)))
                for each in self.repeats
            ),
            found={label: self._found(k, first, second) for k, label in enumerate(self.classes)},
        )

    def _found(self, k: int, first: str, second: str) -> Found:
        """Averages over the repeats."""
        images = [int((each.truth == k).sum()) for each in self.repeats]
        hits = {
            arm: float(np.mean([(each.predicted(arm)[:, each.truth == k] == k).sum(axis=1).mean() for each in
                                self.repeats]))
            for arm in (first, second)
        }  # fmt: skip
        return Found(images=float(np.mean(images)), first=hits[first], second=hits[second])

    def _score(self, found: Estimate, by_seed: Sequence[float]) -> Score:
        return Score(
            **vars(_interval(found)),
            per_seed=self._by_seed(by_seed),
            varied=self._varied(found),
            parts=_parts(found),
        )

    def _by_seed(self, values: Sequence[float]) -> dict[str, float | None]:
        per_repeat = len(values) // len(self.repeats)
        names = [
            seed if len(self.repeats) == 1 else f"{each.name}, seed {seed}"
            for each in self.repeats
            for seed in self.seeds[:per_repeat]
        ]
        return {name: none_if_nan(value) for name, value in zip(names, values, strict=True)}

    def _varied(self, found: Estimate) -> str:
        """What varied under an interval with its share of the variance, and what did not."""
        kind = self.comparison.layout.draws
        shares = found.error.shares
        names = {**_NAMES, "draw": _DRAWS.get(kind, "")}
        held = [f"{names[part.name]} ({100 * shares.get(part.name, 0):.0f} % of the variance)" for part in
                found.error.parts]  # fmt: skip
        held[0] = f"the {found.groups:,} {held[0]}"
        missing = [_FIXED[kind if "draw" in names and "draw" in shares else "one"]]
        if not {"classifier seeds", "draw"} & {part.name for part in found.error.parts}:
            missing.insert(0, "other seeds of the classifiers")
        left_out = "; ".join(filter(None, missing))
        return ", ".join(held) + (f"; not in it: {left_out}" if left_out else "")


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


def _parts(found: Estimate) -> tuple[VariancePart, ...]:
    shares = found.error.shares
    return tuple(
        VariancePart(name=part.name, share=shares.get(part.name, 0.0), freedom=part.freedom)
        for part in found.error.parts
    )
