"""A training's checkpoint: written to a temporary file, then moved, and read with `weights_only`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class Stateful(Protocol):
    """Anything with a state dict: modules, optimizers, schedulers."""

    def state_dict(self) -> dict[str, object]:
        """Return the state."""

    def load_state_dict(self, state_dict: dict[str, object], /) -> object:
        """Load the state."""


@dataclass(frozen=True)
class Checkpoint:
    """The last saved state of a training, in one file."""

    path: Path

    def restore(self, parts: Mapping[str, Stateful]) -> int:
        """Load the saved states into `parts` and return the number of steps done; 0 if nothing was saved."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def save(self, step: int, parts: Mapping[str, Stateful]) -> None:
        """Save the states after this many steps."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, temporary)
        temporary.replace(self.path)
