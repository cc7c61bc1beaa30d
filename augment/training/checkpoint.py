"""A training's checkpoint: the states of modules, optimizers and schedulers after a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from data.training_state import load_state, save_state


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
        """Load the saved states into `parts` and return the number of steps done; 0 if nothing whole was saved."""
        state = load_state(self.path)
        if state is None:
            return 0
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def save(self, step: int, parts: Mapping[str, Stateful]) -> None:
        """Save the states after this many steps."""
        save_state(self.path, {"step": step, **{name: part.state_dict() for name, part in parts.items()}})
