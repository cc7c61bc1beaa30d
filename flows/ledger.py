"""The leakage ledger of a finished run: which leakage groups each of its parts has seen, along its whole lineage.

Base, generators, images made elsewhere, classifiers and the choice of their checkpoints are bound to the split here
once more, from the records that they left, after every stage has refused for itself what it could not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.base import known_in_full, seen_by
from classify.model import trained_on
from data.manifest import Manifest
from data.splits import Split, expected_leakage
from data.store import digest, read_json, write_json
from flows.elsewhere import RECORD, Elsewhere
from flows.steps import Step
from flows.study import StudyConfig

LEDGER = "ledger.json"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one part of a run has seen."""

    kind: str  # base, generator, elsewhere, weights, classifier, checkpoint or figures
    name: str  # its class, arm or source
    groups: frozenset[str]
    known: bool = True  # False: it may have seen more, and no one can say what

    def row(self, split: Split) -> dict[str, Any]:
        """Count the groups by part of the split; the digest is of their sorted names."""
        found = {name: len(self.groups & _groups(part)) for name, part in split.parts().items()}
        whole = {"groups": len(self.groups), "sha256": digest(sorted(self.groups))}
        return {"kind": self.kind, "name": self.name, "known": self.known, **found, **whole}


def write_ledger(
    config: StudyConfig, split: Split, train: Manifest, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> None:
    """Write the ledger into the run folder. Raises DataError for what has seen a group that it is judged by."""
    seen = seen_by_all(config, split, train, drawn, given)
    for one in seen:
        if one.kind not in ("checkpoint", "figures"):
            split.refuse_seen(one.groups, by=f"{one.kind} {one.name}")
    whole = Manifest.concat(*split.parts().values())
    write_json(
        config.folder / LEDGER,
        {
            "groups": {name: len(_groups(part)) for name, part in split.parts().items()},
            "seen": [one.row(split) for one in seen],
            "random_split": expected_leakage(whole, len(split.test) / len(whole)),
        },
    )


def seen_by_all(
    config: StudyConfig, split: Split, train: Manifest, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> list[Seen]:
    """List what each part of the run has seen, in the order of the work; `train` is what classifiers train on."""
    base = Seen(kind="base", name=_name(config), **vars(_known(seen_by(config.base)))) if drawn else None
    generators = [_generator(label, step, base) for label, step in drawn.items()]
    elsewhere = [_elsewhere(name, folder) for name, folder in given.items()]
    weights, classifiers = _weights(config), []
    for arm in config.arm_names:
        makers = [*weights, *(generators if arm == "synthetic" else [one for one in elsewhere if one.name == arm])]
        groups = _groups(train).union(*(one.groups for one in makers))
        known = all(one.known for one in makers)
        classifiers.append(Seen(kind="classifier", name=arm, groups=groups, known=known))
    return [
        *([base] if base else []),
        *generators,
        *elsewhere,
        *weights,
        *classifiers,
        Seen(kind="checkpoint", name="", groups=_groups(split.validation)),
        Seen(kind="figures", name="", groups=_groups(split.test)),
    ]


@dataclass(frozen=True)
class _Known:
    groups: frozenset[str]
    known: bool


def _known(record: Mapping[str, Any]) -> _Known:
    """What a base's record says; what it began from counts too."""
    groups = record.get("groups", "")
    before = record.get("before")
    named = frozenset(map(str, groups)) if isinstance(groups, list) else frozenset[str]()
    earlier = _known(before).groups if isinstance(before, Mapping) else frozenset[str]()
    return _Known(named | earlier, known_in_full(record))


def _name(config: StudyConfig) -> str:
    """Name the base; the study's own by its folder in the run."""
    path = Path(config.base.source)
    return path.name if path.is_relative_to(config.folder) else config.base.source


def _generator(label: str, step: Step, base: Seen | None) -> Seen:
    own: list[str] = read_json(step.target / "generation.json")["seen"]["group_ids"]
    behind = base.groups if base else frozenset()
    return Seen(kind="generator", name=label, groups=behind.union(own), known=base is None or base.known)


def _elsewhere(name: str, folder: Elsewhere) -> Seen:
    seen: list[str] | None = read_json(folder.step.target / RECORD)["seen"]
    return Seen(kind="elsewhere", name=name, groups=frozenset(seen or ()), known=seen is not None)


def _weights(config: StudyConfig) -> list[Seen]:
    """What the classifiers began with; nothing where they begin from scratch."""
    seen = trained_on(config.classifier.weights, config.classifier.model)
    if seen == "nothing":
        return []
    return [Seen(kind="weights", name=seen or config.classifier.weights, groups=frozenset(), known=seen is not None)]


def _groups(part: Manifest) -> frozenset[str]:
    return frozenset(part.table["group_id"])
