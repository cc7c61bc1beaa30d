"""A random split by image, blind to leakage groups: it measures how much such a split overstates a classifier.

A `RandomSplit` is no `Split`: whatever compares arms takes a `Split`, so a model that was trained or evaluated on a
random split can never be among them. It holds the images of a `Split`, with as many of each class in each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.manifest import Manifest
from data.splits.split import Split


@dataclass(frozen=True)
class RandomSplit:
    """Three parts that share no image, but may share leakage groups."""

    train: Manifest
    validation: Manifest
    test: Manifest

    @property
    def leaked(self) -> int:
        """Number of test images with another image of their leakage group in train."""
        return int(self.test.table["group_id"].isin(set(self.train.table["group_id"])).sum())


def random_split(split: Split, seed: int) -> RandomSplit:
    """Divide a split's images anew at random, class by class, into parts of the same size."""
    parts = split.parts()
    whole = Manifest.concat(*parts.values())
    shuffled = whole.table["label"].sample(frac=1, random_state=np.random.default_rng(seed))
    rank = shuffled.groupby(shuffled).cumcount().sort_index()  # of each image within its class
    random_parts, start = [], dict.fromkeys(whole.labels, 0)
    for part in parts.values():
        stop = {label: start[label] + part.counts().get(label, 0) for label in start}
        first, last = (whole.table["label"].map(bounds) for bounds in (start, stop))
        random_parts.append(whole.where((rank >= first) & (rank < last)))
        start = stop
    return RandomSplit(*random_parts)
