"""What a model was trained on, by ids: leakage groups, and the images, lesions and patients in them.

Another study may group the same images differently and so name its groups differently. Images, lesions and patients
have the same ids in both, so models of other studies are compared with a split by these as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from data.manifest import Manifest

_COLUMNS = ("group_id", "image_id", "lesion_id", "patient_id")  # of a manifest; the fields and record keys add an s


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Ids as in a manifest's columns; unknown ids, which are empty there, are left out."""

    group_ids: frozenset[str] = frozenset()
    image_ids: frozenset[str] = frozenset()
    lesion_ids: frozenset[str] = frozenset()
    patient_ids: frozenset[str] = frozenset()
    is_complete: bool = True  # False: it may have been trained on other images too

    @staticmethod
    def of(part: Manifest) -> Provenance:
        """The provenance of a model trained on these images alone."""
        ids: dict[str, Any] = {f"{name}s": frozenset(part.table[name]) - {""} for name in _COLUMNS}
        return Provenance(**ids)

    @staticmethod
    def unknown() -> Provenance:
        """The provenance of a model without any record of its training."""
        return Provenance(is_complete=False)

    @staticmethod
    def from_record(record: object) -> Provenance:
        """Read what `to_record` gave; a missing or ill-formed list is empty, and the provenance then incomplete."""
        known: Mapping[str, Any] = record if isinstance(record, Mapping) else {}
        lists = {f"{name}s": known.get(f"{name}s") for name in _COLUMNS}
        ids = {name: frozenset(map(str, ids)) - {""} for name, ids in lists.items() if isinstance(ids, list)}
        is_complete = len(ids) == len(_COLUMNS) and known.get("is_complete") is True
        return Provenance(**ids, is_complete=is_complete)

    def to_record(self) -> dict[str, Any]:
        """Sorted lists of ids and `is_complete`, as plain JSON."""
        return {**{name: sorted(ids) for name, ids in self._ids().items()}, "is_complete": self.is_complete}

    def __or__(self, other: Provenance) -> Provenance:
        """The provenance of a model trained on both."""
        theirs = other._ids()
        ids = {name: ours | theirs[name] for name, ours in self._ids().items()}
        return Provenance(**ids, is_complete=self.is_complete and other.is_complete)

    def groups_in(self, part: Manifest) -> set[str]:
        """The part's leakage groups with an image, lesion or patient in this provenance, whatever their names here."""
        hits = [part.table[name[:-1]].isin(ids) for name, ids in self._ids().items()]
        return set(part.table["group_id"][pd.concat(hits, axis=1).any(axis=1)])

    def _ids(self) -> dict[str, frozenset[str]]:
        return {f"{name}s": getattr(self, f"{name}s") for name in _COLUMNS}
