"""What a base was trained on: training.json in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.base.config import BaseConfig
from data.splits.provenance import Provenance
from data.store import read_json, write_json

if TYPE_CHECKING:
    from data.manifest import Manifest

TRAINING = "training.json"


@dataclass(frozen=True, kw_only=True)
class BaseRecord:
    """What a base was trained on, and how."""

    images: int
    by_class: Mapping[str, int]
    provenance: Provenance  # of everything along its lineage
    groups: int | str  # number of leakage groups along its lineage, or what the images are, in words
    part: str = ""  # the part of a study's split that the images are; "": of no split
    before: Mapping[str, Any] | None = None  # summary of its parent base; {}: unknown, None: it has none
    details: Mapping[str, Any] = field(default_factory=dict)  # settings, versions and measurements

    @classmethod
    def of(cls, part: Manifest, parent: BaseConfig | None) -> BaseRecord:
        """Record of a base trained on images of the train part and, before that, `parent`; None: random weights."""
        provenance = Provenance.of(part)
        if parent is not None:
            provenance |= base_provenance(parent)
        return cls(
            images=len(part),
            by_class=part.counts(),
            provenance=provenance,
            groups=len(provenance.group_ids),
            part="train",
            before=None if parent is None else base_training_record(parent),
        )

    @classmethod
    def read(cls, folder: Path) -> BaseRecord:
        """The record in a base's folder. Raises OSError if there is none, ValueError for another program's."""
        try:
            found = dict(read_json(folder / TRAINING))
            known = {name: found.pop(name) for name in ("images", "by_class", "groups")}
            provenance = Provenance.from_record(found.pop("provenance"))
        except (KeyError, TypeError) as fault:
            raise ValueError(f"{folder / TRAINING}: not a base's training record") from fault
        return cls(
            **known,
            provenance=provenance,
            part=found.pop("part", ""),
            before=found.pop("before", None),
            details=found,
        )

    def write(self, folder: Path) -> None:
        """Write training.json."""
        write_json(folder / TRAINING, {**self.summary(), "provenance": self.provenance.to_record(), **self.details})

    def summary(self) -> dict[str, Any]:
        """What a report says of it: images, by_class, groups, and where they are known part and before."""
        found = {"images": self.images, "by_class": dict(self.by_class), "groups": self.groups}
        if self.part:
            found["part"] = self.part
        if self.before is not None:
            found["before"] = dict(self.before)
        return found


def base_record(base: BaseConfig) -> BaseRecord | None:
    """The record of a base, or of the parent of a study's own that is not trained yet; None: not known."""
    source = base.parent if base.own else base
    if source is None:
        return BaseRecord(images=0, by_class={}, provenance=Provenance(), groups=0)
    try:
        return BaseRecord.read(source.folder)
    except (OSError, ValueError):  # none, or another program's
        return None


def base_provenance(base: BaseConfig) -> Provenance:
    """What a base was trained on, along its lineage, as far as it is known."""
    record = base_record(base)
    known = Provenance.unknown() if record is None else record.provenance
    return known if base.embeddings is None else known | Provenance.unknown()  # of others' words nothing is known


def base_training_record(base: BaseConfig) -> dict[str, Any]:
    """What a report says of a base's training, see `BaseRecord.summary`; {}: not known."""
    record = base_record(base)
    return {} if record is None else record.summary()
