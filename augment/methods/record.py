"""adapter.json: what a finished adapter was made from and how. Written last, so it marks the adapter as finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.durable import sync_all
from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import read_json, write_json

RECORD = "adapter.json"


@dataclass(frozen=True, kw_only=True)
class ChosenStep:
    """Which step's weights were kept where the config asks for a choice, and what chose it."""

    step: int
    images: int = 0  # drawn for each measurement
    features: str = ""  # that sets of images were compared by
    held_out: int = 0  # photographs that they were compared with
    origin: str = ""  # of those, in words
    reason: str = ""  # why there was no choice and the last step was kept; "": there was one
    chosen_by: Provenance = field(default_factory=Provenance)  # of the photographs

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**vars(self), "chosen_by": self.chosen_by.to_record()}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ChosenStep:
        """Read what `to_record` gave. Raises KeyError or TypeError for anything else."""
        return ChosenStep(**{**record, "chosen_by": Provenance.from_record(record["chosen_by"])})


@dataclass(frozen=True, kw_only=True)
class AdapterRecord:
    """One class's adapter; `config`, `pixels` and `base` are plain JSON."""

    method: str
    display_name: str  # of the method, as its authors write it
    label: str
    prompt: str  # of generation
    negative_prompt: str
    token: str | None  # the prompt's rare word
    steps: int  # trained
    final_loss: float  # mean of the last 20 steps up to the kept one
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
    chosen: ChosenStep | None = None  # None: the config asks for no choice, and the last step was kept

    @property
    def seen(self) -> Provenance:
        """What the adapter was trained on, and what chose its step."""
        return self.provenance if self.chosen is None else self.provenance | self.chosen.chosen_by

    @classmethod
    def read(cls, folder: Path) -> AdapterRecord:
        """The record in an adapter's folder. Raises BaseError."""
        try:
            values = dict(read_json(folder / RECORD))
            chosen = values.get("chosen")
            parsed = {"chosen": None if chosen is None else ChosenStep.from_record(chosen)}
            return cls(**{**values, **parsed, "provenance": Provenance.from_record(values["provenance"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BaseError(
                f"{folder}: no finished adapter ({RECORD} is missing or broken); run its fine-tuning"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the record into an adapter's folder, once what it stands for is on disk."""
        sync_all(folder)
        values = {**vars(self), "provenance": self.provenance.to_record()}
        chosen = values.pop("chosen")
        write_json(folder / RECORD, values if chosen is None else {**values, "chosen": chosen.to_record()})
