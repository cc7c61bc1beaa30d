"""A disk that is full in the midst of the work is one line with a mend, as one that is too small at the start is."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError
from flows.steps import Conductor, Finished, Watch

_FULL = {errno.ENOSPC, errno.EDQUOT}
# What libraries say in place of the system's error, whose number they drop.
_SAID = "No space left on device"
_FAILED = ("PytorchStreamWriter failed writing", "basic_ios::clear: iostream error", "unexpected pos")  # of any write
_LITTLE = 2 * 2**30  # bytes free, below which a write that failed is taken to have failed for want of room


@contextmanager
def said_if_full(runs: str) -> Iterator[None]:
    """Raise InputError in place of what a library raises where the disk of `runs` is full."""
    try:
        yield
    except InputError:
        raise
    except Exception as fault:
        if not _is_full(fault, runs):
            raise
        raise InputError(
            f"runs={runs}: the disk is full; free some, and the same command goes on from what is finished, "
            "or set runs= to a folder on a larger disk"
        ) from fault


def watching_the_disk(conduct: Conductor, runs: str) -> Conductor:
    """Give a conductor whose steps say so where the disk is full."""

    def conducted(stage: str, what: str, work: Callable[[Watch], Finished]) -> Finished:
        def watched(watch: Watch) -> Finished:
            with said_if_full(runs):
                return work(watch)

        return conduct(stage, what, watched)

    return conducted


def _is_full(fault: BaseException | None, runs: str) -> bool:
    """Whether it, or what it was raised from, is for want of room in `runs`."""
    while fault is not None:
        if isinstance(fault, OSError) and fault.errno in _FULL:
            return fault.filename is None or _on_one_disk(fault.filename, runs)
        if _SAID in str(fault):
            return True
        if any(words in str(fault) for words in _FAILED):
            return shutil.disk_usage(runs).free < _LITTLE
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return False


def _on_one_disk(path: str, runs: str) -> bool:
    try:
        return Path(path).parent.stat().st_dev == Path(runs).stat().st_dev
    except OSError:
        return True
