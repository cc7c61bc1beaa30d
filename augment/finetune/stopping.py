"""Requests to stop a fine-tune early and keep what it has learnt, as files in the run's folder.

A class in training is announced by TOKEN.json, and its process holds TOKEN.lock for as long as it lives; a request is
TOKEN.stop. Each training has a token of its own, so that no request reaches a later one, and files of a process that
was killed count for nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import filelock

from data.errors import InputError
from data.store import read_json, write_json

FOLDER = ".finetuning"  # within the run's folder
_ANNOUNCED, _LOCK, _STOP = ".json", ".lock", ".stop"


class Announcement:
    """A class that is announced as being in training, until that is withdrawn or the process ends."""

    def __init__(self, run: Path, label: str) -> None:
        folder = run / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        _remove_dead(folder)
        self._place = folder / uuid4().hex
        self._lock = filelock.FileLock(self._place.with_suffix(_LOCK))
        self._lock.acquire()
        write_json(self._place.with_suffix(_ANNOUNCED), {"label": label})

    @property
    def stop_requested(self) -> bool:
        """Whether somebody has asked this training to stop."""
        return self._place.with_suffix(_STOP).exists()

    def withdraw(self) -> None:
        """Take no more requests."""
        _remove(self._place, _ANNOUNCED, _STOP)
        self._lock.release()
        _remove(self._place, _LOCK)
        with contextlib.suppress(OSError):  # others are announced there
            self._place.parent.rmdir()


def in_training(run: Path) -> tuple[str, ...]:
    """The classes of a run that are being fine-tuned now, in this process or in any other that shares the folder."""
    return tuple(sorted(set(_announced(run).values())))


def request_stop(run: Path, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Ask the fine-tunes of these classes, or of all that are in training, to stop after the step they are at.

    Returns the labels that will stop. Raises InputError where the run fine-tunes none now, or not one of these; then
    none is asked.
    """
    announced = _announced(run)
    known = sorted(set(announced.values()))
    if not known:
        raise InputError(
            f"{run}: no fine-tune is at work there; give the folder of a run while its fine-tune is at work, e.g. "
            "runs/demo"
        )
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise InputError(f"{run}: {unknown[0]!r} is not being fine-tuned now; name one of {', '.join(known)}")
    asked = {place: label for place, label in announced.items() if not labels or label in labels}
    for place in asked:
        place.with_suffix(_STOP).touch()
    return tuple(sorted(set(asked.values())))


def _announced(run: Path) -> dict[Path, str]:
    """The label of each training whose process lives, by the place of its files."""
    found = dict[Path, str]()
    for path in sorted((run / FOLDER).glob(f"*{_ANNOUNCED}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it has ended since, or is no such file
            label = str(read_json(path)["label"])
            if _is_alive(path):
                found[path.with_suffix("")] = label
    return found


def _is_alive(place: Path) -> bool:
    """Whether a process holds the lock."""
    path = place.with_suffix(_LOCK)
    if not path.exists():
        return False
    try:
        filelock.FileLock(path).acquire(timeout=0).lock.release()
    except filelock.Timeout:
        return True
    return False


def _remove_dead(folder: Path) -> None:
    """Delete the files of processes that were killed."""
    for place in {path.with_suffix("") for path in folder.iterdir() if path.suffix in {_ANNOUNCED, _LOCK, _STOP}}:
        if not _is_alive(place):
            _remove(place, _ANNOUNCED, _STOP, _LOCK)


def _remove(place: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        place.with_suffix(suffix).unlink(missing_ok=True)
