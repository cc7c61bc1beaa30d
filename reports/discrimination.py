"""Discrimination and calibration of the arms' probabilities, with intervals; the figures themselves are classify's.

Every figure is averaged over the seeds of an arm, then over the repeats of a study. Intervals are percentiles of one
bootstrap of leakage groups, the same draws for every arm, so that differences are paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classify import calibration, discrimination
from classify.discrimination import DEFAULT, Bootstrap
from reports.schema import Discrimination, Interval, Separation, SeparationDifference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from classify.tested import Tested

Values: TypeAlias = "NDArray[np.float64]"  # a figure, then its value in each draw
Row: TypeAlias = tuple[str, str]  # ("class", label), or one of the rows below
MACRO: Row = ("macro", "")
MALIGNANT: Row = ("malignant", "")
CALIBRATION: Row = ("calibration", "")
_REFLECTED = "expected_calibration_error"  # its resampled values are too high by as much as the figure itself


def discrimination_of(
    repeats: Sequence[Tested],
    classes: Sequence[str],
    malignant: Sequence[str],
    pairs: Iterable[tuple[str, str]],
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> Discrimination:
    """Every figure of every arm, and the first arm of each pair less the second."""
    names, numbers = np.unique(np.concatenate([each.groups for each in repeats]), return_inverse=True)
    groups = np.split(numbers, np.cumsum([len(each.truth) for each in repeats])[:-1])
    draws = discrimination.group_draws(len(names), bootstrap)
    tables = {arm: _of_arm(arm, repeats, groups, draws, classes, malignant) for arm in repeats[0].probabilities}
    return Discrimination(
        malignant=tuple(malignant),
        arms={arm: _separation(table, bootstrap.level) for arm, table in tables.items()},
        differences=tuple(
            SeparationDifference(
                first=first,
                second=second,
                **vars(_separation(_less(tables[first], tables[second]), bootstrap.level, least=-np.inf)),
            )
            for first, second in pairs
        ),
        varied=_varied(repeats, len(names), bootstrap),
    )


def _of_arm(
    arm: str,
    repeats: Sequence[Tested],
    groups: Sequence[NDArray[np.int64]],
    draws: NDArray[np.float32],
    classes: Sequence[str],
    malignant: Sequence[str],
) -> dict[Row, dict[str, Values]]:
    """Means over seeds, then over repeats; a repeat whose test part lacks a class says nothing of it."""
    by_repeat = []
    for tested, group in zip(repeats, groups, strict=True):
        seeds = [
            _of_classifier(tested.truth, shares, group, draws, classes, malignant)
            for shares in tested.probabilities[arm]
        ]
        by_repeat.append(_mean(seeds))
    return _mean(by_repeat)


def _of_classifier(
    truth: NDArray[np.int64],
    shares: NDArray[np.float64],
    group: NDArray[np.int64],
    draws: NDArray[np.float32],
    classes: Sequence[str],
    malignant: Sequence[str],
) -> dict[Row, dict[str, Values]]:
    def separated(numbers: Sequence[int]) -> dict[str, Values]:
        positive, score = np.isin(truth, numbers), shares[:, list(numbers)].sum(axis=1)
        point = discrimination.figures(positive, score)
        drawn = discrimination.resampled_figures(positive, score, group, draws)
        return {name: np.concatenate([[value], drawn[name]]) for name, value in point.items()}

    table: dict[Row, dict[str, Values]] = {("class", label): separated([k]) for k, label in enumerate(classes)}
    table[MACRO] = discrimination.macro(list(table.values()))
    if malignant:
        table[MALIGNANT] = separated([classes.index(label) for label in malignant])
    point = calibration.figures(truth, shares)
    drawn = calibration.resampled_figures(truth, shares, group, draws)
    table[CALIBRATION] = {name: np.concatenate([[value], drawn[name]]) for name, value in point.items()}
    return table


def _mean(tables: Sequence[dict[Row, dict[str, Values]]]) -> dict[Row, dict[str, Values]]:
    """Mean of each figure over the tables in which it is defined; NaN where it is in none."""

    def mean(values: NDArray[np.float64]) -> Values:
        there = ~np.isnan(values)
        sums, counts = np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0)
        means: Values = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return means

    return {
        row: {name: mean(np.array([table[row][name] for table in tables])) for name in found}
        for row, found in tables[0].items()
    }


def _less(first: dict[Row, dict[str, Values]], second: dict[Row, dict[str, Values]]) -> dict[Row, dict[str, Values]]:
    return {row: {name: values - second[row][name] for name, values in found.items()} for row, found in first.items()}


def _separation(table: dict[Row, dict[str, Values]], level: float, least: float = 0.0) -> Separation:
    def row(key: Row) -> dict[str, Interval]:
        return {name: _interval(name, values, level, least) for name, values in table.get(key, {}).items()}

    return Separation(
        by_class={label: row((kind, label)) for kind, label in table if kind == "class"},
        macro=row(MACRO),
        malignant=row(MALIGNANT),
        calibration=row(CALIBRATION),
    )


def _interval(name: str, values: Values, level: float, least: float) -> Interval:
    """Percentiles of the draws in which the figure is defined.

    Where draws are biased they are reflected about the figure, and the interval reaches to the figure at least.
    """
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if np.isnan(value) or not len(drawn):
        return Interval(mean=None, low=None, high=None)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    if name == _REFLECTED:
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    return Interval(mean=value, low=float(max(low, least)), high=float(max(high, least)))


def _varied(repeats: Sequence[Tested], groups: int, bootstrap: Bootstrap) -> str:
    averaged = "the classifiers’ seeds are averaged, not drawn"
    if len(repeats) == 1:
        fixed = "split, few-shot images and generator are fixed"
        return f"{bootstrap.resamples} draws of the {groups:,} leakage groups of the test part; {averaged}; {fixed}"
    return (
        f"{bootstrap.resamples} draws of the {groups:,} leakage groups of the {len(repeats)} repeats’ test parts; "
        f"{averaged}, and so are the repeats"
    )
