"""Faults of the machine during a run, above all a full disk: one line with a fix instead of a library's traceback."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError, machine_error

_FULL = {errno.ENOSPC, errno.EDQUOT}
# What libraries say in place of the system's error, whose number they drop.
_MESSAGE = "No space left on device"
_FAILED = ("PytorchStreamWriter failed writing", "basic_ios::clear: iostream error", "unexpected pos")  # of any write
_LITTLE = 2 * 2**30  # bytes free, below which a failed write is blamed on the full disk


@contextmanager
def machine_faults_in_one_line(output_dir: str) -> Iterator[None]:
    """Raise InputError where the disk of `output_dir` is full, and MachineError for other faults of the machine."""
    try:
        yield
    except InputError:
        raise
    except Exception as fault:
        if _is_full(fault, output_dir):
            raise InputError(
                f"output_dir={output_dir}: the disk is full; free some, and the same command goes on from what is "
                "finished, or set output_dir= to a folder on a larger disk"
            ) from fault
        known = machine_error(fault) if isinstance(fault, OSError | MemoryError) else None
        if known is None:
            raise
        raise known from fault


def _is_full(fault: BaseException | None, output_dir: str) -> bool:
    """Whether an exception, or one that it was raised from, comes from a full disk of `output_dir`."""
    while fault is not None:
        if isinstance(fault, OSError) and fault.errno in _FULL:
            return fault.filename is None or _on_one_disk(fault.filename, output_dir)
        if _MESSAGE in str(fault):
            return True
        if any(words in str(fault) for words in _FAILED):
            return shutil.disk_usage(output_dir).free < _LITTLE
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return False


def _on_one_disk(path: str, output_dir: str) -> bool:
    try:
        return Path(path).parent.stat().st_dev == Path(output_dir).stat().st_dev
    except OSError:
        return True
