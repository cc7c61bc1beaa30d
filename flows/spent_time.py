"""Seconds that an artefact took, with those of the runs that were killed on the way to it."""

from __future__ import annotations

import time
from pathlib import Path

from data.progress import Progress
from data.store import read_json, write_json

COST = "cost.json"  # seconds and device, inside an artefact; in a working folder the seconds until now
_EVERY = 5.0  # seconds between two records


class SpentTime:
    """The time spent on a working folder: that of earlier runs, as they recorded it, and of this one so far."""

    def __init__(self, folder: Path, device: str) -> None:
        """Of work that goes on in `folder`, on this device."""
        self._file, self._device = folder / COST, device
        self._start, self._recorded = time.perf_counter(), -_EVERY
        self._earlier = _seconds_in(self._file)

    @property
    def seconds(self) -> float:
        """All seconds until now."""
        return self._earlier + time.perf_counter() - self._start

    def write(self) -> None:
        """Record the seconds until now."""
        write_json(self._file, {"seconds": round(self.seconds, 2), "device": self._device})

    def recorded(self, progress: Progress) -> Progress:
        """This progress, which also records the seconds, at once and then every few of them: a kill loses no more."""

        def show(done: int, total: int, note: str = "") -> None:
            if time.perf_counter() - self._recorded >= _EVERY:
                self._recorded = time.perf_counter()
                self.write()
            progress(done, total, note)

        return show


def _seconds_in(file: Path) -> float:
    """What an earlier run recorded; 0 where none did, or its record is damaged."""
    try:
        return float(read_json(file)["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
