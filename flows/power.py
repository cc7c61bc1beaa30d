"""The smallest effect that a study can see, said before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classify.power import Support, in_words
from flows.steps import StepResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data.manifest import Manifest
    from flows.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Power(StepResult):
    """What the study can resolve."""

    text: str

    @property
    def outcome(self) -> str:
        """It in words."""
        return self.text


def power(plans: Sequence[Plan]) -> Power:
    """What the plans of a study's repeats can resolve together."""
    folder = plans[0].prepared.study.folder
    return Power(stage="power", what="", seconds=0.0, reused=False, folder=folder, text=power_in_words(plans))


def power_in_words(plans: Sequence[Plan]) -> str:
    """One line, for one arm against another. Further study seeds and generator seeds are left out: it may see more."""
    split, study = plans[0].prepared.split, plans[0].prepared.study
    labels = split.test.labels
    parts = [_counts(part, labels) for part in split.parts().values()]
    images, groups = ([sum(counts) for counts in zip(*each, strict=True)] for each in zip(*parts, strict=True))
    folds = len({plan.prepared.study.split.fold for plan in plans})
    return in_words(_support(*_counts(split.test, labels)), _support(images, groups), len(study.seeds), folds=folds)


def _counts(part: Manifest, labels: tuple[str, ...]) -> tuple[list[int], list[int]]:
    table = part.table
    own = [table[table["label"] == label] for label in labels]
    return [len(rows) for rows in own], [rows["group_id"].nunique() for rows in own]


def _support(images: list[int], groups: list[int]) -> Support:
    return Support(images=tuple(images), groups=tuple(groups))
