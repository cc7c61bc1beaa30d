"""What something was trained on: ids of leakage groups, images, lesions and patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from data.manifest import Manifest

_IDS = ("group_ids", "image_ids", "lesion_ids", "patient_ids")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Ids as in a manifest's columns, without empty ones; `is_complete` False: it may have seen more."""

    group_ids: frozenset[str] = frozenset()
    image_ids: frozenset[str] = frozenset()
    lesion_ids: frozenset[str] = frozenset()
    patient_ids: frozenset[str] = frozenset()
    is_complete: bool = True

    @staticmethod
    def of(part: Manifest) -> Provenance:
        """Provenance of something that was trained on these images."""
        ids = {name: frozenset(part.table[name[:-1]]) - {""} for name in _IDS}
        return Provenance(**ids, is_complete=True)

    @staticmethod
    def unknown() -> Provenance:
        """No ids, and not complete."""
        return Provenance(is_complete=False)

    @staticmethod
    def from_record(record: object) -> Provenance:
        """Provenance in a record; missing or ill-formed: unknown."""
        if not isinstance(record, Mapping) or not isinstance(record.get("is_complete"), bool):
            return Provenance.unknown()
        lists = [record.get(name) for name in _IDS]
        if not all(isinstance(ids, list) for ids in lists):
            return Provenance.unknown()
        ids = {name: frozenset(map(str, record[name])) - {""} for name in _IDS}
        return Provenance(**ids, is_complete=record["is_complete"])

    def to_record(self) -> dict[str, Any]:
        """Sorted lists, and `is_complete`."""
        return {**{name: sorted(getattr(self, name)) for name in _IDS}, "is_complete": self.is_complete}

    def __or__(self, other: Provenance) -> Provenance:
        """Ids of both; complete if both are."""
        ids = {name: getattr(self, name) | getattr(other, name) for name in _IDS}
        return Provenance(**ids, is_complete=self.is_complete and other.is_complete)

    def groups_in(self, part: Manifest) -> set[str]:
        """The part's leakage groups of which something was seen, by any of the ids."""
        hits = [part.table[name[:-1]].isin(getattr(self, name)) for name in _IDS]
        return set(part.table["group_id"][pd.concat(hits, axis=1).any(axis=1)])
