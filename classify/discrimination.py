"""How well a score separates images of a class from the others: AUROC, average precision, sensitivity at a specificity.

The figures themselves are scikit-learn's. Their resampled values, of which intervals are made, are computed for all
draws of leakage groups in one matrix product a curve, and equal scikit-learn's with those draws as sample weights
(tests/classify/test_discrimination.py). A figure is NaN where there is no image of the class, or none of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import auc, average_precision_score, roc_curve

SPECIFICITIES = {"sensitivity_at_80": 0.80, "sensitivity_at_90": 0.90}
MIN_SENSITIVITY = 0.80  # of `auc_above_80`, which is the ISIC challenge's auc_sens_80
FIGURES = ("auroc", "average_precision", *SPECIFICITIES, "auc_above_80")
_CHUNK = 2**22  # positive images of all draws held at once
_ROUNDING = 1e-9  # 1 - 0.8 is slightly below 0.2


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How leakage groups are resampled."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


DEFAULT = Bootstrap()


def figures(positive: Bool[np.ndarray, " n"], score: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Each of `FIGURES` of one score, higher for images that are more likely `positive`."""
    if positive.all() or not positive.any():
        return dict.fromkeys(FIGURES, float("nan"))
    false_positives, sensitivities, _ = roc_curve(positive, score, drop_intermediate=False)
    at = {
        name: sensitivities[false_positives <= 1 - specificity + _ROUNDING].max()
        for name, specificity in SPECIFICITIES.items()
    }
    found = {
        "auroc": auc(false_positives, sensitivities),
        "average_precision": average_precision_score(positive, score),
        **at,
        "auc_above_80": _auc_above(false_positives, sensitivities),
    }
    return {name: float(value) for name, value in found.items()}


def group_draws(groups: int, bootstrap: Bootstrap = DEFAULT) -> Float[np.ndarray, "draws {groups}"]:
    """How often each group is in each resample of as many groups, drawn with replacement."""
    rng = np.random.default_rng(bootstrap.seed)
    drawn: Float[np.ndarray, "draws {groups}"] = rng.multinomial(
        groups, np.full(groups, 1 / groups), size=bootstrap.resamples
    ).astype(np.float32)  # small whole numbers: products and sums of them are exact
    return drawn


def resampled_figures(
    positive: Bool[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    draws: Float[np.ndarray, "draws g"],
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Each of `FIGURES` in each resample, in which an image counts as often as its group was drawn.

    NaN in a resample without a positive or without a negative image.
    """
    if positive.all() or not positive.any():
        return {name: np.full(len(draws), np.nan) for name in FIGURES}
    ranks = _ranks(positive, score, group)
    at_once = max(1, _CHUNK // len(ranks.group))
    parts = [_of_curves(_curves(ranks, draws[start : start + at_once])) for start in range(0, len(draws), at_once)]
    return {name: np.concatenate([part[name] for part in parts]) for name in FIGURES}


def macro(by_class: Sequence[Mapping[str, float | Float[np.ndarray, " r"]]]) -> dict[str, Float[np.ndarray, "*r"]]:
    """Mean of each figure over the classes for which it is defined; NaN where it is for none."""
    means = {}
    for name in FIGURES:
        values = np.array([found[name] for found in by_class])
        there = ~np.isnan(values)
        sums, counts = np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0)
        means[name] = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
    return means


@dataclass(frozen=True)
class _Ranks:
    """The positive images, the highest score first, and how many negatives each other group has at or above them."""

    group: Int[np.ndarray, " p"]  # of each positive image
    last: Int[np.ndarray, " p"]  # the last positive image of the same score
    others: Int[np.ndarray, " o"]  # groups that hold a negative image
    sizes: Float[np.ndarray, " o"]  # negative images of each
    above: Float[np.ndarray, "o p"]  # of these, whose score is at least as high
    half: Float[np.ndarray, "o p"]  # the same, with half of those whose score is equal


@dataclass(frozen=True)
class _Curves:
    """ROC curves of the draws at the score of each positive image, the highest score first."""

    weights: Float[np.ndarray, "draws p"]  # how often each positive image was drawn
    found: Float[np.ndarray, "draws p"]  # positives drawn whose score is at least as high
    above: Float[np.ndarray, "draws p"]  # negatives drawn whose score is at least as high
    half: Float[np.ndarray, "draws p"]  # the same, with half of those whose score is equal
    negatives: Float[np.ndarray, "draws 1"]  # drawn in all

    @property
    def positives(self) -> Float[np.ndarray, "draws 1"]:
        """Positives drawn in all."""
        return self.found[:, -1:]


def _ranks(positive: Bool[np.ndarray, " n"], score: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]) -> _Ranks:
    order = np.argsort(-score[positive], kind="stable")
    scores, negatives = -score[positive][order], -score[~positive]  # ascending
    first, behind = np.searchsorted(scores, negatives, "left"), np.searchsorted(scores, negatives, "right")
    others, row = np.unique(group[~positive], return_inverse=True)
    shape = (len(others), len(scores))
    above = _counts(row, first, shape)
    half = above if (first == behind).all() else (above + _counts(row, behind, shape)) / 2
    return _Ranks(
        group=group[positive][order],
        last=np.searchsorted(scores, scores, "right") - 1,
        others=others,
        sizes=np.bincount(row, minlength=len(others)).astype(np.float32),
        above=above,
        half=half,
    )


def _curves(ranks: _Ranks, draws: Float[np.ndarray, "draws g"]) -> _Curves:
    weights, others = draws[:, ranks.group], draws[:, ranks.others]
    above = others @ ranks.above
    return _Curves(
        weights=weights,
        found=np.cumsum(weights, axis=1)[:, ranks.last],
        above=above,
        half=above if ranks.half is ranks.above else others @ ranks.half,
        negatives=(others @ ranks.sizes)[:, None],
    )


def _counts(
    row: Int[np.ndarray, " m"], start: Int[np.ndarray, " m"], shape: tuple[int, int]
) -> Float[np.ndarray, "o p"]:
    """How many images of each row start at each column or before it."""
    counts = np.zeros((shape[0], shape[1] + 1), np.float32)
    np.add.at(counts, (row, start), np.float32(1))
    return np.cumsum(counts[:, :-1], axis=1)


def _of_curves(curve: _Curves) -> dict[str, Float[np.ndarray, " draws"]]:
    shares = curve.weights / np.maximum(curve.positives, 1)
    precision = curve.found / np.maximum(curve.found + curve.above, 1)
    false_positives = curve.half / np.maximum(curve.negatives, 1)
    area = 1 - (shares * false_positives).sum(axis=1, dtype=np.float64)
    enough = np.argmax(curve.found >= MIN_SENSITIVITY * curve.positives - _ROUNDING, axis=1)
    at = np.take_along_axis(false_positives, enough[:, None], axis=1)
    before = (shares * np.clip(at - false_positives, 0, None)).sum(axis=1, dtype=np.float64)
    allowed = {name: (1 - least) * curve.negatives + _ROUNDING for name, least in SPECIFICITIES.items()}
    found = {
        "auroc": area,
        "average_precision": (shares * precision).sum(axis=1, dtype=np.float64),
        **{name: (shares * (curve.above <= most)).sum(axis=1, dtype=np.float64) for name, most in allowed.items()},
        "auc_above_80": area - before,
    }
    known = (curve.positives > 0) & (curve.negatives > 0)
    return {name: np.where(known[:, 0], values, np.nan) for name, values in found.items()}


def _auc_above(false_positives: Float[np.ndarray, " t"], sensitivities: Float[np.ndarray, " t"]) -> float:
    """Area under the ROC curve from where sensitivity reaches `MIN_SENSITIVITY`, as isic-challenge-scoring 5 has it."""
    k = int(sensitivities.searchsorted(MIN_SENSITIVITY, side="left"))
    start = np.interp(MIN_SENSITIVITY, sensitivities[k - 1 : k + 1], false_positives[k - 1 : k + 1])
    return float(auc([start, *false_positives[k:]], [MIN_SENSITIVITY, *sensitivities[k:]]))
