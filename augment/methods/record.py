"""adapter.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import read_json


@dataclass(frozen=True, kw_only=True)
class AdapterRecord:
    """What fine-tuning wrote."""

    sha256: str
    provenance: Provenance

    @staticmethod
    def read(folder: Path) -> AdapterRecord:
        """Read it. Raises BaseError."""
        try:
            record = read_json(folder / "adapter.json")
        except (OSError, ValueError) as fault:
            raise BaseError(f"{folder}: no finished adapter") from fault
        shots = {**record["shots"], "is_complete": True}
        return AdapterRecord(sha256=record["sha256"], provenance=Provenance.from_record(shots))
