"""How many images are added to each rare class in the arms that fill them up; they are the same in every such arm."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from data.errors import DataError
from data.manifest import Manifest


def fill_counts(train: Manifest, rare: Sequence[str], fill_to: int | None = None) -> dict[str, int]:
    """Count the images to add to each rare class, so that it has `fill_to`; None is the median class's count.

    The commonest class gets none.
    """
    counts = train.counts()
    absent = sorted(set(rare) - set(counts))
    if absent:
        raise DataError(f"the train part holds no image of {absent[0]!r}; take it out of split.rare or add images")
    commonest = max(counts, key=counts.__getitem__)
    target = level(train, fill_to)
    return {label: 0 if label == commonest else max(0, target - counts[label]) for label in rare}


def level(train: Manifest, fill_to: int | None = None) -> int:
    """Tell how many images of a rare class there are once it is filled up."""
    return int(median(train.counts().values())) if fill_to is None else fill_to
