"""How many images are added to each rare class: the same number in every arm that fills them up."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from data.errors import DataError
from data.manifest import Manifest


def fill_counts(train: Manifest, rare: Sequence[str], fill_to: int | None = None) -> dict[str, int]:
    """Images to add to each rare class so that it has `fill_to`; None is the median class's count.

    The commonest class gets none, unless others are as common: then the rare ones among them are filled.
    """
    counts = train.counts()
    absent = sorted(set(rare) - set(counts))
    if absent:
        raise DataError(f"the train part holds no image of {absent[0]!r}; take it out of split.rare or add images")
    most = max(counts.values())
    commonest = [label for label, n in counts.items() if n == most]
    target = target_count(train, fill_to)
    return {label: 0 if [label] == commonest else max(0, target - counts[label]) for label in rare}


def target_count(train: Manifest, fill_to: int | None = None) -> int:
    """Images of a rare class after filling up: `fill_to`, or the median class's count."""
    return int(median(train.counts().values())) if fill_to is None else fill_to
