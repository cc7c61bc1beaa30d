"""What something was trained on, told by ids: its leakage groups, and the images, lesions and patients behind them.

A group is named by what joined it, which another study may have done otherwise. An image, a lesion or a patient bears
the same name in both, so whatever was trained elsewhere is held against a split by these as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from data.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class SeenIds:
    """Ids as they stand in a manifest's columns; an empty one, of what is not known, is never among them."""

    group_ids: frozenset[str] = frozenset()
    image_ids: frozenset[str] = frozenset()
    lesion_ids: frozenset[str] = frozenset()
    patient_ids: frozenset[str] = frozenset()

    @staticmethod
    def of(part: Manifest) -> SeenIds:
        """Take what one has seen that was trained on these images."""
        return SeenIds(**{name: frozenset(part.table[name[:-1]]) - {""} for name in _names()})

    @staticmethod
    def told(record: Mapping[str, Any]) -> SeenIds:
        """Read what a record names, and what it says was seen before; what is no list names nothing.

        A base's record calls its leakage groups `groups`.
        """
        given = {**record, "group_ids": record.get("group_ids", record.get("groups"))}
        lists = {name: given.get(name) for name in _names()}
        ids = {name: frozenset(map(str, found)) - {""} for name, found in lists.items() if isinstance(found, list)}
        before = record.get("before")
        earlier = SeenIds.told(before) if isinstance(before, Mapping) else SeenIds()
        return SeenIds(**ids) | earlier

    def __or__(self, other: SeenIds) -> SeenIds:
        """Join what both have seen."""
        return SeenIds(**{name: getattr(self, name) | getattr(other, name) for name in _names()})

    def record(self) -> dict[str, list[str]]:
        """Give sorted lists, as records keep them."""
        return {name: sorted(getattr(self, name)) for name in _names()}

    def groups_in(self, part: Manifest) -> set[str]:
        """Find the part's leakage groups of which something was seen, whatever they were called where it was."""
        hits = [part.table[name[:-1]].isin(getattr(self, name)) for name in _names()]
        return set(part.table["group_id"][pd.concat(hits, axis=1).any(axis=1)])


def _names() -> list[str]:
    return [field.name for field in fields(SeenIds)]
