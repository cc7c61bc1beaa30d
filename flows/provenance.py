"""The provenance of a finished run: which leakage groups each of its parts has seen, along its whole lineage.

Base, generators, external images, classifiers and the choice of their checkpoints are compared with the split once more
here, by the records that they wrote, although every stage has refused for itself what it must not use.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.base.provenance import base_provenance, base_training_record
from augment.generate.record import GeneratedImages
from augment.methods.record import Stopped
from classify.arms import Arm
from classify.weights import weights_name, weights_provenance
from data.manifest import Manifest
from data.sources.external import external_provenance, folder_of
from data.splits.leakage import expected_leakage
from data.splits.provenance import Provenance
from data.splits.split import Split
from data.store import digest, write_json
from flows.plan import Plan
from flows.stages import gate

PROVENANCE = "provenance.json"
_EVALUATION = ("checkpoint", "figures")  # kinds that read validation or test images by design


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one part of a run has seen."""

    kind: str  # base, generator, external, weights, classifier, checkpoint or figures
    name: str  # its class, arm or source
    seen: Provenance
    note: str = ""  # of a generator: that it was stopped by request, and at which step

    def counts(self, split: Split) -> dict[str, Any]:
        """Leakage groups by part of the split, however the part knows them; the digest is of their sorted names."""
        found = {name: len(self.seen.groups_in(part)) for name, part in split.parts().items()}
        whole = {"groups": len(self.seen.group_ids), "sha256": digest(sorted(self.seen.group_ids))}
        note = {"note": self.note} if self.note else {}
        return {"kind": self.kind, "name": self.name, "is_complete": self.seen.is_complete, **found, **whole, **note}


def write_provenance(plan: Plan) -> None:
    """Write provenance.json. Raises DataError for a model or generator that has seen a validation or test group."""
    split, rows = plan.prepared.split, provenance_rows(plan)
    for row in rows:
        if row.kind not in _EVALUATION:
            split.refuse_seen(row.seen, by=f"{row.kind} {row.name}")
    whole = Manifest.concat(*split.parts().values())
    write_json(
        plan.prepared.study.records / PROVENANCE,
        {
            "groups": {name: int(part.table["group_id"].nunique()) for name, part in split.parts().items()},
            "rows": [row.counts(split) for row in rows],
            "random_split": expected_leakage(whole, len(split.test) / len(whole)),
            "base": base_training_record(plan.base) if _uses_base(plan) else {},
            "gate": gate.records(plan),
        },
    )


def provenance_rows(plan: Plan) -> list[Row]:
    """What each part of the run has seen, in the order of the work."""
    split = plan.prepared.split
    return [
        *_base(plan),
        *_generators(plan),
        *_external(plan),
        *_weights(plan),
        *(
            Row(kind="classifier", name=arm.name, seen=classifier_provenance(plan, arm))
            for arm in plan.prepared.study.arm_table.values()
        ),
        Row(kind="checkpoint", name="", seen=Provenance.of(split.validation)),
        Row(kind="figures", name="", seen=Provenance.of(split.test)),
    ]


def classifier_provenance(plan: Plan, arm: Arm) -> Provenance:
    """Provenance of an arm's classifiers: their real images, and what the generators of the added images have seen."""
    rows = _weights(plan)
    rows += _base(plan) if plan.prepared.coding != "none" else []  # its autoencoder coded what all arms train on
    rows += {"synthetic": _generators, "autoencoded": _base}.get(arm.source, lambda _: [])(plan)
    rows += [row for row in _external(plan) if row.name == arm.name]
    return functools.reduce(operator.or_, (row.seen for row in rows), Provenance.of(plan.prepared.train_of(arm)))


def _uses_base(plan: Plan) -> bool:
    return bool(plan.steps_of("images") or plan.steps_of("autoencoded"))


def _base(plan: Plan) -> list[Row]:
    """The base, where it is used; the study's own is named by its folder in the run."""
    if not _uses_base(plan):
        return []
    path = Path(plan.base.source)
    name = path.name if path.is_relative_to(plan.prepared.study.folder) else plan.base.source
    return [Row(kind="base", name=name, seen=base_provenance(plan.base))]


def _generators(plan: Plan) -> list[Row]:
    base = base_provenance(plan.base)
    made = {step.what: GeneratedImages.read(step.target) for step in plan.steps_of("images")}
    return [
        Row(
            kind="generator",
            name=label,
            seen=base | images.provenance,
            note="" if images.stopped is None else Stopped(**images.stopped).in_words,
        )
        for label, images in made.items()
    ]


def _external(plan: Plan) -> list[Row]:
    return [
        Row(kind="external", name=arm.name, seen=external_provenance(folder_of(arm)))
        for arm in plan.prepared.study.external_arms
    ]


def _weights(plan: Plan) -> list[Row]:
    """What the classifiers are initialised from; nothing where they are trained from scratch."""
    config = plan.prepared.study.classifier
    seen = weights_provenance(config.weights, config.model)
    return [] if seen is None else [Row(kind="weights", name=weights_name(config.weights, config.model), seen=seen)]
