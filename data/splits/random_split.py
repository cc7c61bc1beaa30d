"""The split that no study may make, by image and blind to groups; made here to show what it would have reported.

A `CarelessSplit` is no `Split`: whatever compares arms takes a `Split`, so nothing that was trained or judged on this
one can stand among them. It holds the very images of an honest split, as many of each class in each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.manifest import Manifest
from data.splits.split import Split


@dataclass(frozen=True)
class CarelessSplit:
    """Three parts that share no image, but as many leakage groups as chance will have it.

    They are not called as a `Split`'s are, so that what reads those cannot read these.
    """

    learnt: Manifest  # what would be train
    chosen_by: Manifest  # validation
    asked: Manifest  # test

    @property
    def leaked(self) -> int:
        """Count the images asked about that have another image of their group among those learnt."""
        return int(self.asked.table["group_id"].isin(set(self.learnt.table["group_id"])).sum())


def divide_carelessly(split: Split, seed: int) -> CarelessSplit:
    """Deal the images of a split anew at random, class by class, into parts as large as before."""
    parts = split.parts()
    whole = Manifest.concat(*parts.values())
    shuffled = whole.table["label"].sample(frac=1, random_state=np.random.default_rng(seed))
    rank = shuffled.groupby(shuffled).cumcount().sort_index()  # of each image within its class
    dealt, before = [], dict.fromkeys(whole.labels, 0)
    for part in parts.values():
        upto = {label: before[label] + part.counts().get(label, 0) for label in before}
        first, last = (whole.table["label"].map(bounds) for bounds in (before, upto))
        dealt.append(whole.where((rank >= first) & (rank < last)))
        before = upto
    return CarelessSplit(*dealt)
