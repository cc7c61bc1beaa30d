"""Variance of a figure by its sources: test lesions, classifier seeds, and the draw of images and generator.

- *Test lesions*: other leakage groups might have been tested. The squares of their influences (`classify.tested`).
- *Classifier seeds*: each arm's own, since arms differ in it.
- *Draw*: where a study is repeated, the variance between its draws of split, few-shot images and generator.

Two or three seeds or draws say little about their variance. Each estimate is shrunk as if one more had lain at a usual
distance from the others (Smyth 2004, eq. 3): `SEED_PRIOR`, and for draws `DRAW_PRIOR` beyond their seeds. Variance of
single images is counted in groups and in seeds, so intervals are rather too long than too short.
`benchmarks/coverage.py` simulates studies, and shows how often intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import t as student_t

from classify.tested import BALANCED, FIRST_RECALL, ArmFigures, Layout

PartName = Literal["test lesions", "classifier seeds", "draw"]

SEED_PRIOR = (
    0.025  # usual standard deviation of one classifier's balanced accuracy; docs/results.md has 0.5 to 5.5 points
)
RECALL_SEED_PRIOR = 0.05  # of one class's recall
DRAW_PRIOR = 0.015  # usual standard deviation between draws beyond what their seeds explain
PRIOR_FREEDOM = 1.0  # of each prior
POWER = 0.8  # share of studies that see the smallest effect


@dataclass(frozen=True, kw_only=True)
class Part:
    """One source of a figure's variance."""

    name: PartName
    variance: float  # of the figure, in units of its own square
    freedom: float  # degrees of freedom of that estimate


@dataclass(frozen=True, kw_only=True)
class Error:
    """The error of a figure, which has Student's t distribution."""

    parts: tuple[Part, ...]
    freedom: float  # degrees of freedom of the whole

    @staticmethod
    def of(*parts: Part) -> Error:
        """The error of parts that are estimated apart (Satterthwaite 1946)."""
        return Error(parts=parts, freedom=_freedom(parts))

    @property
    def standard(self) -> float:
        """Standard error."""
        return float(sum(part.variance for part in self.parts) ** 0.5)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the variance that each part has; none where there is no variance."""
        whole = self.standard**2
        return {part.name: part.variance / whole for part in self.parts} if whole > 0 else {}

    def half_width(self, level: float) -> float:
        """From the figure to either end of its interval."""
        return self.standard * float(student_t.ppf((1 + level) / 2, self.freedom))

    def smallest_seen(self, level: float) -> float:
        """Effect whose interval lies clear of zero in 80 % of studies."""
        return self.standard * float(student_t.ppf((1 + level) / 2, self.freedom) + student_t.ppf(POWER, self.freedom))

    def p_value(self, value: float) -> float:
        """Two-sided p value of the value against zero; 1 for no difference without variance."""
        if self.standard <= 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * student_t.sf(abs(value) / self.standard, self.freedom))


def error_of(
    arms: Sequence[tuple[float, ArmFigures]], figure: int, layout: Layout, *, seeds_vary: bool = True
) -> Error:
    """Error of a sum of arms' figures, each times its sign. `seeds_vary`: False leaves out seeds and draws."""
    lesions = _lesions(arms, figure, layout)
    if not seeds_vary:
        return Error.of(lesions)
    prior = RECALL_SEED_PRIOR if figure >= FIRST_RECALL else SEED_PRIOR
    several = [arm for _, arm in arms if arm.values.shape[1] > 1]
    seeds = [_of_seeds(arm, figure, prior) for arm in several]
    if layout.n_clusters == 1 or all(arm.is_one_draw for _, arm in arms):
        return Error.of(lesions, *_sum(seeds))
    fixed, drawn = ([part for part, arm in zip(seeds, several, strict=True) if arm.is_one_draw is is_one] for is_one in
                    (True, False))  # fmt: skip
    lone = [arm for _, arm in arms if arm.is_one_draw and arm.values.shape[1] == 1]  # of one seed: the prior alone
    fixed += [Part(name="classifier seeds", variance=prior**2, freedom=PRIOR_FREEDOM) for _ in lone]
    seeds += fixed[len(fixed) - len(lone) :]
    draw = _draws(arms, figure, layout, drawn)
    whole = replace(draw, variance=draw.variance + sum(part.variance for part in drawn))  # estimated as one
    return Error(parts=(lesions, *_sum(seeds), draw), freedom=_freedom([lesions, *fixed, whole]))


def _lesions(arms: Sequence[tuple[float, ArmFigures]], figure: int, layout: Layout) -> Part:
    """Squares of the groups' influences; degrees of freedom from the classes' groups less one each."""
    influence = sum(sign * arm.influences[figure].mean(axis=(0, 1)) for sign, arm in arms)
    freedom = float(max(layout.holders[figure] - 1, 1))
    if figure == BALANCED:
        each = [sum(sign * arm.of_classes[k] for sign, arm in arms) for k in range(layout.n_classes)]
        squares = np.array([np.square(one).sum() for one in each])
        below = (squares**2 / np.maximum(layout.holders[FIRST_RECALL:] - 1, 1)).sum()
        freedom = float(squares.sum() ** 2 / below) if below > 0 else freedom
    return Part(name="test lesions", variance=float(np.square(influence).sum()), freedom=freedom)


def _of_seeds(arm: ArmFigures, figure: int, prior: float) -> Part:
    """Variance of an arm's mean by its seeds."""
    values = np.nan_to_num(arm.values[list(arm.distinct)][:, :, figure])
    draws, seeds = values.shape
    freedom = draws * (seeds - 1)
    variance = float(np.square(values - values.mean(axis=1, keepdims=True)).sum() / freedom)
    shrunk = _shrunk(variance, freedom, prior**2) / (draws * seeds)
    return Part(name="classifier seeds", variance=shrunk, freedom=freedom + PRIOR_FREEDOM)


def _draws(arms: Sequence[tuple[float, ArmFigures]], figure: int, layout: Layout, seeds: Sequence[Part]) -> Part:
    """What the variance between draws has beyond the part of the seeds of the arms that are drawn."""
    deviations = np.zeros(layout.n_clusters)
    for sign, arm in arms:
        if not arm.is_one_draw:
            deviations += sign * arm.by_cluster[:, figure]
    n = layout.n_clusters
    variance = float(n / (n - 1) * np.square(deviations - deviations.mean()).sum())
    of_seeds = sum(part.variance for part in seeds)
    whole = _shrunk(variance, n - 1, of_seeds + DRAW_PRIOR**2 / n)
    return Part(name="draw", variance=max(whole - of_seeds, 0.0), freedom=n - 1 + PRIOR_FREEDOM)


def _shrunk(variance: float, freedom: float, prior: float) -> float:
    return (PRIOR_FREEDOM * prior + freedom * variance) / (PRIOR_FREEDOM + freedom)


def _sum(parts: Sequence[Part]) -> list[Part]:
    """The parts of several arms as one; none for none."""
    variance = sum(part.variance for part in parts)
    return [replace(parts[0], variance=variance, freedom=_freedom(parts))] if variance > 0 else []


def _freedom(parts: Sequence[Part]) -> float:
    """Degrees of freedom of a sum of variances that are estimated apart (Satterthwaite 1946)."""
    squares = sum(part.variance**2 / part.freedom for part in parts)
    return sum(part.variance for part in parts) ** 2 / squares if squares > 0 else 1.0
