"""The leakage ledger of a finished run: which leakage groups each of its parts has seen, along its whole lineage.

Base, generators, images made elsewhere, classifiers and the choice of their checkpoints are bound to the split here
once more, from the records that they left, after every stage has refused for itself what it could not use.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.base.config import known_in_full, seen_by
from classify.model import trained_on
from data.manifest import Manifest
from data.splits.provenance import SeenIds
from data.splits.split import Split, expected_leakage
from data.store import digest, write_json
from flows.elsewhere import Elsewhere
from flows.steps import Step
from flows.study import StudyConfig
from flows.synthesize import seen_by_generator
from flows.weights import weights_record

LEDGER = "ledger.json"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one part of a run has seen."""

    kind: str  # base, generator, elsewhere, weights, classifier, checkpoint or figures
    name: str  # its class, arm or source
    ids: SeenIds
    known: bool = True  # False: it may have seen more, and no one can say what

    def row(self, split: Split) -> dict[str, Any]:
        """Count the groups by part of the split, however it knows them; the digest is of their sorted names."""
        found = {name: len(self.ids.groups_in(part)) for name, part in split.parts().items()}
        whole = {"groups": len(self.ids.group_ids), "sha256": digest(sorted(self.ids.group_ids))}
        return {"kind": self.kind, "name": self.name, "known": self.known, **found, **whole}


def write_ledger(
    config: StudyConfig, split: Split, train: Manifest, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> None:
    """Write the ledger into the run folder. Raises DataError for what has seen a group that it is judged by."""
    seen = seen_by_all(config, split, train, drawn, given)
    for one in seen:
        if one.kind not in ("checkpoint", "figures"):
            split.refuse_seen(one.ids, by=f"{one.kind} {one.name}")
    whole = Manifest.concat(*split.parts().values())
    write_json(
        config.folder / LEDGER,
        {
            "groups": {name: _groups(part) for name, part in split.parts().items()},
            "seen": [one.row(split) for one in seen],
            "random_split": expected_leakage(whole, len(split.test) / len(whole)),
        },
    )


def seen_by_all(
    config: StudyConfig, split: Split, train: Manifest, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> list[Seen]:
    """List what each part of the run has seen, in the order of the work; `train` is what classifiers train on."""
    return [
        *([_base(config)] if drawn else []),
        *_generators(config, drawn),
        *_elsewhere(given),
        *_weights(config),
        *(classifier_of(config, train, arm, drawn, given) for arm in config.arm_names),
        Seen(kind="checkpoint", name="", ids=SeenIds.of(split.validation)),
        Seen(kind="figures", name="", ids=SeenIds.of(split.test)),
    ]


def classifier_of(
    config: StudyConfig, train: Manifest, arm: str, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> Seen:
    """Tell what an arm's classifiers have seen: their real images, and with the others whatever drew those."""
    makers = [*_weights(config), *(_generators(config, drawn) if arm == "synthetic" else [])]
    makers += [one for one in _elsewhere(given) if one.name == arm]
    ids = functools.reduce(operator.or_, (one.ids for one in makers), SeenIds.of(train))
    return Seen(kind="classifier", name=arm, ids=ids, known=all(one.known for one in makers))


def _base(config: StudyConfig) -> Seen:
    """Tell what the base has seen; the study's own is named by its folder in the run."""
    record, path = seen_by(config.base), Path(config.base.source)
    name = path.name if path.is_relative_to(config.folder) else config.base.source
    return Seen(kind="base", name=name, ids=SeenIds.told(record), known=known_in_full(record))


def _generators(config: StudyConfig, drawn: Mapping[str, Step]) -> list[Seen]:
    base, found = _base(config), {label: seen_by_generator(step.target) for label, step in drawn.items()}
    return [
        Seen(kind="generator", name=label, ids=base.ids | ids, known=base.known and known)
        for label, (ids, known) in found.items()
    ]


def _elsewhere(given: Mapping[str, Elsewhere]) -> list[Seen]:
    return [Seen(kind="elsewhere", name=name, ids=one.seen, known=one.known) for name, one in given.items()]


def _weights(config: StudyConfig) -> list[Seen]:
    """What the classifiers began with; nothing where they begin from scratch."""
    first = config.classifier
    told = trained_on(first.weights, first.model)
    if told == "nothing":
        return []
    record = weights_record(first.weights)
    known = told is not None or known_in_full(record)
    return [Seen(kind="weights", name=told or first.weights, ids=SeenIds.told(record), known=known)]


def _groups(part: Manifest) -> int:
    return int(part.table["group_id"].nunique())
