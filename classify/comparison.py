"""Intervals: cluster bootstrap of an arm's balanced accuracy and of the paired difference between two arms.

Errors on images of one leakage group (a patient, a lesion, near-duplicates) are correlated, so whole groups are
resampled. Predictions of several seeds of an arm are averaged; where a `SeedVariance` is given, a random error of that
variance is added to each resample. This counts part of the variance of single images twice, in groups and in seeds, so
intervals are too long rather than too short. They do not cover another split, few-shot subset or generator:
`Estimate.varied` says so beside every figure.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from classify.seed_variance import SeedVariance

_CHUNK = 2**24  # cells of resampled weights held at once


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


DEFAULT = Bootstrap()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval. All three are NaN for a class without a test image."""

    value: float
    low: float
    high: float
    n: int  # images that it rests on
    groups: int  # leakage groups that it rests on
    varied: str  # what was resampled, and what was not


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Balanced accuracy and recalls of an arm, or the difference of two arms in each of them."""

    balanced_accuracy: Estimate
    recalls: tuple[Estimate, ...]  # by class
    by_seed: tuple[float, ...]  # balanced accuracy of each seed (of each pair of equal rank, for a difference)
    without_images: tuple[int, ...]  # classes without a test image


def estimate_arm(
    truth: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, "seeds n"],
    groups: Shaped[np.ndarray, " n"],
    n_classes: int,
    *,
    seed_variance: SeedVariance | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimates:
    """Balanced accuracy and recalls averaged over the arm's seeds; intervals from resampled groups, and seeds."""
    chance = _Chance(seed_variance, 1 / len(predicted), least=0.0)
    varied = _varied(len(predicted), seed_variance)
    hits = _hits(truth, predicted)
    return _estimate(hits, truth, groups, n_classes, chance, bootstrap=bootstrap, varied=varied)


def estimate_difference(
    truth: Int[np.ndarray, " n"],
    first: Int[np.ndarray, "seeds n"],
    second: Int[np.ndarray, "other_seeds n"],
    groups: Shaped[np.ndarray, " n"],
    n_classes: int,
    *,
    seed_variance: SeedVariance | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimates:
    """Second minus first. Both are evaluated on the same resampled groups, so group effects cancel; seeds do not."""
    before, after = _hits(truth, first), _hits(truth, second)
    pairs = min(len(before), len(after))
    mean = after.mean(axis=0) - before.mean(axis=0)
    chance = _Chance(seed_variance, 1 / len(before) + 1 / len(after), least=-1.0)
    varied = _varied(max(len(before), len(after)), seed_variance)
    whole = _estimate(mean[None], truth, groups, n_classes, chance, bootstrap=bootstrap, varied=varied)
    by_seed = tuple(_value(after[i] - before[i], truth, n_classes) for i in range(pairs))
    return Estimates(
        balanced_accuracy=whole.balanced_accuracy,
        recalls=whole.recalls,
        by_seed=by_seed,
        without_images=whole.without_images,
    )


@dataclass(frozen=True)
class _Chance:
    """The seeds' random error of a resampled figure, which is kept between `least` and 1."""

    seed_variance: SeedVariance | None
    share: float
    least: float

    def added(
        self, balanced: Float[np.ndarray, " r"], recalls: Float[np.ndarray, "r k"], rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r k"]]:
        """The resampled figures, with one random error of the seeds added to each."""
        if self.seed_variance is None:
            return balanced, recalls
        errors = self.seed_variance.errors(self.share, len(balanced), rng)
        moved = np.clip(np.column_stack([balanced, recalls]) + errors, self.least, 1.0)
        return moved[:, 0], moved[:, 1:]


def _hits(truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, "seeds n"]) -> Float[np.ndarray, "seeds n"]:
    if predicted.ndim != 2 or predicted.shape[1] != len(truth) or not len(predicted):  # noqa: PLR2004 - seeds, images
        raise ValueError(f"predictions are {predicted.shape}, wanted (seeds, {len(truth)})")
    hits: Float[np.ndarray, "seeds n"] = (predicted == truth).astype(np.float64)
    return hits


def _estimate(
    gains: Float[np.ndarray, "seeds n"],
    truth: Int[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"],
    n_classes: int,
    chance: _Chance,
    *,
    bootstrap: Bootstrap,
    varied: str,
) -> Estimates:
    """`gains` is what each image adds to its class's recall: 0 or 1, or a difference of those."""
    names, group = np.unique(groups, return_inverse=True)
    sums, counts = np.zeros((len(names), n_classes)), np.zeros((len(names), n_classes))
    np.add.at(sums, (group, truth), gains.mean(axis=0))
    np.add.at(counts, (group, truth), 1.0)
    value = _recalls(sums.sum(axis=0), counts.sum(axis=0))
    rng = np.random.default_rng(bootstrap.seed)
    drawn = _resampled(sums, counts, bootstrap.resamples, rng)
    balanced_drawn, recalls_drawn = chance.added(_mean(drawn), drawn, rng)
    text = f"{bootstrap.resamples} draws of the {len(names)} leakage groups of the test part; {varied}"
    images, holders = counts.sum(axis=0), (counts > 0).sum(axis=0)
    recalls = tuple(
        _interval(value[k], recalls_drawn[:, k], bootstrap.level, n=int(images[k]), groups=int(holders[k]), varied=text)
        for k in range(n_classes)
    )
    balanced = _interval(
        _mean(value[None])[0], balanced_drawn, bootstrap.level, n=len(truth), groups=len(names), varied=text
    )
    return Estimates(
        balanced_accuracy=balanced,
        recalls=recalls,
        by_seed=tuple(_value(row, truth, n_classes) for row in gains),
        without_images=tuple(int(k) for k in np.flatnonzero(images == 0)),
    )


def _resampled(
    sums: Float[np.ndarray, "g k"], counts: Float[np.ndarray, "g k"], resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "{resamples} k"]:
    """Recalls in each resample of as many groups as there are, drawn with replacement."""
    n = len(sums)
    at_once = max(1, _CHUNK // max(1, n))
    parts = []
    for start in range(0, resamples, at_once):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(at_once, resamples - start)).astype(np.float64)
        parts.append(_recalls(weights @ sums, weights @ counts))
    return np.concatenate(parts)


def _recalls(sums: Float[np.ndarray, "*r k"], counts: Float[np.ndarray, "*r k"]) -> Float[np.ndarray, "*r k"]:
    """NaN where a class has no image."""
    recalls: Float[np.ndarray, "*r k"] = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return recalls


def _mean(recalls: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    """Mean over the classes that have images; NaN where none has."""
    there = ~np.isnan(recalls)
    return _recalls(np.where(there, recalls, 0.0).sum(axis=1), there.sum(axis=1).astype(np.float64))


def _interval(
    value: float, drawn: Float[np.ndarray, " r"], level: float, *, n: int, groups: int, varied: str
) -> Estimate:
    """Percentiles of the draws; a draw without an image of the class is left out."""
    known = drawn[~np.isnan(drawn)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(known, tails) if len(known) and not np.isnan(value) else (np.nan, np.nan)
    return Estimate(value=float(value), low=float(low), high=float(high), n=n, groups=groups, varied=varied)


def _value(gains: Float[np.ndarray, " n"], truth: Int[np.ndarray, " n"], n_classes: int) -> float:
    sums = np.bincount(truth, weights=gains, minlength=n_classes)
    counts = np.bincount(truth, minlength=n_classes).astype(np.float64)
    return float(_mean(_recalls(sums, counts)[None])[0])


def _varied(seeds: int, seed_variance: SeedVariance | None) -> str:
    averaged = f"the {seeds} classifier seeds are averaged, not drawn" if seeds > 1 else "one classifier seed"
    return f"{seed_variance.in_words() if seed_variance else averaged}; split, few-shot images and generator are fixed"
