"""The state of a training in one file, with its digest beside it: what is damaged is dropped, and made anew.

The digest's file names the last two states, as a kill may come between writing it and moving the state into place.
"""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from data.durable import replacing
from data.store import file_sha256, write_text

_log = logging.getLogger(__name__)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values; a kill leaves the one before."""
    before = file_sha256(path) if path.is_file() else ""
    with replacing(path) as temporary:
        torch.save(state, temporary)
        write_text(_digests(path), f"{file_sha256(temporary)}\n{before}\n")


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a state, onto the CPU; None where there is none, or one that is not as it was written: it is deleted.

    Runs no code that the file might hold (`weights_only`). A fault of disk or memory is raised, and deletes nothing.
    """
    if not path.is_file():
        return None
    fault = "its bytes are not those that were written"
    if file_sha256(path) in _known_digests(path):
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except UnpicklingError as raised:
            fault = str(raised).partition("\n")[0]
    _log.warning("%s: %s; this training begins again", path, fault)
    forget_state(path)
    return None


def forget_state(path: Path) -> None:
    """Delete a state and its digest."""
    path.unlink(missing_ok=True)
    _digests(path).unlink(missing_ok=True)


def _known_digests(path: Path) -> list[str]:
    digests = _digests(path)
    return digests.read_bytes().decode("ascii", "replace").split() if digests.is_file() else []


def _digests(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
