"""adapter.json: what a finished adapter was made from and how. Written last, so it marks the adapter as finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import read_json, write_json

RECORD = "adapter.json"


@dataclass(frozen=True, kw_only=True)
class AdapterRecord:
    """One class's adapter; `config`, `pixels` and `base` are plain JSON."""

    method: str
    display_name: str  # of the method, as its authors write it
    label: str
    prompt: str  # of generation
    negative_prompt: str
    token: str | None  # the prompt's rare word
    steps: int
    final_loss: float  # mean of the last 20 steps
    config: Mapping[str, Any]
    key: str  # digest of everything that the adapter depends on
    weights: str  # path within the folder
    sha256: str  # of that file
    base: Mapping[str, Any]  # base_identity
    provenance: Provenance  # of the images that it was trained on; the base's is its own
    pixels: Mapping[str, Any]
    seed: int
    trained_with: Sequence[str]  # labels of the classes in the same batches, its own included
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> AdapterRecord:
        """The record in an adapter's folder. Raises BaseError."""
        try:
            values = dict(read_json(folder / RECORD))
            return cls(**{**values, "provenance": Provenance.from_record(values["provenance"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BaseError(
                f"{folder}: no finished adapter ({RECORD} is missing or broken); run its fine-tuning"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the record into an adapter's folder."""
        write_json(folder / RECORD, {**vars(self), "provenance": self.provenance.to_record()})
