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
HELD_OUT_TABLE = "held_out.csv"  # beside it, where a held-out loss was measured


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
class HeldOutRecord:
    """The loss of photographs of the class that it was not trained on, and what they are."""

    loss: float | None = None  # after the last step; None: there is none
    photographs: int = 0
    origin: str = ""  # of those, in words
    reason: str = ""  # why there is none; "": there is one
    seen: Provenance = field(default_factory=Provenance)  # of the photographs

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**vars(self), "seen": self.seen.to_record()}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> HeldOutRecord:
        """Read what `to_record` gave. Raises KeyError or TypeError for anything else."""
        return HeldOutRecord(**{**record, "seen": Provenance.from_record(record["seen"])})


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A training that was stopped by request before its last step; the adapter is that of the last step done."""

    step: int
    of: int

    @property
    def in_words(self) -> str:
        """The same as the report and the terminal say it."""
        return f"stopped by request at step {self.step} of {self.of}"


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
    held_out: HeldOutRecord | None = None  # None: the config asks for no held-out loss
    stopped: Stopped | None = None  # None: it was not stopped by request

    @property
    def seen(self) -> Provenance:
        """What the adapter was trained on, and what its step was chosen by.

        Who stops a training has its held-out loss before them, so that those photographs count as having chosen.
        """
        seen = self.provenance if self.chosen is None else self.provenance | self.chosen.chosen_by
        return seen if self.stopped is None or self.held_out is None else seen | self.held_out.seen

    @classmethod
    def read(cls, folder: Path) -> AdapterRecord:
        """The record in an adapter's folder. Raises BaseError."""
        try:
            values = dict(read_json(folder / RECORD))
            readers = {"chosen": ChosenStep.from_record, "held_out": HeldOutRecord.from_record, "stopped": _stopped}
            parsed = {name: read(values[name]) for name, read in readers.items() if values.get(name) is not None}
            return cls(**{**values, **parsed, "provenance": Provenance.from_record(values["provenance"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BaseError(
                f"{folder}: no finished adapter ({RECORD} is missing or broken); run its fine-tuning"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the record into an adapter's folder, once what it stands for is on disk."""
        sync_all(folder)
        optional = {
            "chosen": self.chosen and self.chosen.to_record(),
            "held_out": self.held_out and self.held_out.to_record(),
            "stopped": self.stopped and dict(vars(self.stopped)),
        }
        values = {**vars(self), "provenance": self.provenance.to_record(), **optional}
        write_json(folder / RECORD, {name: value for name, value in values.items() if name not in optional or value})


def _stopped(record: Mapping[str, Any]) -> Stopped:
    return Stopped(**record)
