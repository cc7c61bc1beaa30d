"""The split of a run in numbers: its parts, what a random split would leak, and what each part of the run has seen."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.splits.leakage import RECORD, LeakageRecord, LeakedImages
from reports.lineage import base_in_words
from reports.schema import Leak, ProvenanceRow, SplitCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.run_folder import RunFolder


def split_counts(run: RunFolder) -> SplitCounts:
    """The split by its leakage.json and the run's provenance.json."""
    leakage = run.record_of(run.artifact("split"), RECORD, LeakageRecord.read)
    provenance = run.json(run.path, "provenance.json")
    rows = tuple(_row(row) for row in provenance["rows"])
    uses_base = any(row.kind == "base" for row in rows)
    return SplitCounts(
        groups=leakage.groups,
        links=asdict(leakage.links),
        shared_groups=leakage.shared_groups,
        parts=dict(leakage.parts),
        random_split_leaks=tuple(_leak(row, provenance["random_split"]) for row in leakage.random_split),
        provenance=rows,
        base_has_seen=base_in_words(provenance["base"]) if uses_base else "",
        test=leakage.test,
        left_out=len(leakage.left_out),
    )


def _leak(row: LeakedImages, expected: Mapping[str, float]) -> Leak:
    return Leak(label=row.label, images=row.images, leaked=row.leaked, share=expected[row.label])


def _row(row: Mapping[str, Any]) -> ProvenanceRow:
    names = ("kind", "name", "train", "validation", "test", "is_complete")
    return ProvenanceRow(**{name: row[name] for name in names}, note=row.get("note", ""))
