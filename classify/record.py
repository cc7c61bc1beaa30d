"""`arm.json`: what one classifier was trained on and how, beside its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.store import read_json, write_json

FILE = "arm.json"


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """One classifier of an arm."""

    arm: str
    seed: int
    labels: tuple[str, ...]
    best_step: int  # whose network is kept: the last, or the best on the validation part
    validation_balanced_accuracy: float  # at that step
    images: Mapping[str, Mapping[str, Mapping[str, int]]]  # part -> label -> real | repeated | synthetic -> rows
    steps: int
    samples: int
    seconds: float  # of the last process, if training was resumed
    config: Mapping[str, Any]
    temperature: float = 1.0  # that its logits are divided by; 1: none was fitted

    def write(self, folder: Path) -> None:
        """Write it into the classifier's folder."""
        write_json(folder / FILE, asdict(self))

    @staticmethod
    def read(folder: Path) -> ArmRecord:
        """Read it back. Raises OSError, ValueError, KeyError or TypeError for anything else."""
        values = dict(read_json(folder / FILE))
        return ArmRecord(**{**values, "labels": tuple(values["labels"])})
