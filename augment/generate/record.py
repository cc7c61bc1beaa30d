"""generation.json: what a folder's synthetic images depend on, and what their generator was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.splits.provenance import Provenance
from data.store import digest, read_json, write_json

FILE = "generation.json"


@dataclass(frozen=True, kw_only=True)
class GeneratedImages:
    """One class's images: everything that their bytes depend on but the number of images."""

    label: str
    prompt: str  # without an image's attributes
    adapter: str  # SHA-256 of its weights, or "none"
    base: Mapping[str, Any]  # its identity
    seed: int  # the study's; each image's own is derived from it
    size: int  # pixels
    batch_size: int
    sampler: str  # the solver
    settings: Mapping[str, Any]  # GenerateConfig.result_settings
    attributes: Mapping[str, Any] | None  # of real images, which prompts name: how many, and their digest
    provenance: Provenance  # of adapter and base, and of the photographs that images are made from
    sources: Mapping[str, Any] | None = None  # of edits: how many photographs, their digest and their masks'
    photographs: Mapping[str, Any] | None = None  # whose condition images a ControlNet follows; None: there is none
    stopped: Mapping[str, Any] | None = (
        None  # step and steps of an adapter that was stopped by request; None: it was not
    )

    @staticmethod
    def read(folder: Path) -> GeneratedImages:
        """The record in a folder of images. Raises DataError."""
        path = folder / FILE
        try:
            record = read_json(path)
            return GeneratedImages(**{**record, "provenance": Provenance.from_record(record["provenance"])})
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{path}: no record of generated images; delete the folder and generate again") from fault

    def write(self, folder: Path) -> None:
        """Write the record into a folder of images."""
        write_json(folder / FILE, self.to_record())

    def to_record(self) -> dict[str, Any]:
        """The record as plain JSON."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in (
            "sources",
            "photographs",
            "stopped",
        ):  # as in records from before there were any, whose digests stay
            if record[name] is None:
                del record[name]
        return {**record, "provenance": self.provenance.to_record()}

    def digest(self) -> str:
        """SHA-256 of the record."""
        return digest(self.to_record())
