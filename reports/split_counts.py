"""The split of a run in numbers: its parts, what a random split would leak, and what each part of the run has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.lineage import base_in_words
from reports.schema import Leak, PartCounts, ProvenanceRow, SplitCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.run_folder import RunFolder


def split_counts(run: RunFolder) -> SplitCounts:
    """The split by its leakage.json and the run's provenance.json."""
    leakage, provenance = run.json(run.artifact("split"), "leakage.json"), run.json(run.path, "provenance.json")
    rows = tuple(_row(row) for row in provenance["rows"])
    uses_base = any(row.kind == "base" for row in rows)
    return SplitCounts(
        groups=leakage["groups"],
        links=leakage["links"],
        shared_groups=leakage["shared_groups"],
        parts={name: _part(counts) for name, counts in leakage["parts"].items()},
        random_split_leaks=tuple(_leak(row, provenance["random_split"]) for row in leakage["random_split"]),
        provenance=rows,
        base_has_seen=base_in_words(provenance["base"]) if uses_base else "",
        test=str(leakage["test"]),
        left_out=len(leakage["left_out"]),
    )


def _part(counts: Mapping[str, Any]) -> PartCounts:
    return PartCounts(**{name: counts[name] for name in ("images", "lesions", "groups", "by_class")})


def _leak(row: Mapping[str, Any], expected: Mapping[str, float]) -> Leak:
    return Leak(label=row["label"], images=row["images"], leaked=row["leaked"], share=expected[row["label"]])


def _row(row: Mapping[str, Any]) -> ProvenanceRow:
    names = ("kind", "name", "train", "validation", "test", "is_complete")
    return ProvenanceRow(**{name: row[name] for name in names})
