"""One process at a time computes on an accelerator, whichever user of the machine started it.

Each device has a lock file in a folder that all users share. It is only ever read, so that it may belong to anyone; the
system lifts the lock when the process ends, however that is.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import torch

from data.errors import MachineError

_SHARED = Path("/tmp")  # noqa: S108 - every user's; TMPDIR may be one user's alone
_log = logging.getLogger(__name__)


@contextmanager
def holding(device: torch.device) -> Iterator[None]:
    """Hold the device, after whoever holds it now. Raises MachineError where its lock can't be read."""
    file = lock_file(device)
    if os.name == "nt":  # one user's machine
        with filelock.FileLock(file):
            yield
        return
    descriptor = _opened(file)
    try:
        _lock(descriptor, device)
        yield
    finally:
        os.close(descriptor)  # lifts the lock


def lock_file(device: torch.device) -> Path:
    """The device's lock: cards have one each, known by what the driver calls them, whatever a process may see."""
    folder = _SHARED if _SHARED.is_dir() and os.name != "nt" else Path(tempfile.gettempdir())
    return folder / f"lesionloom-{_name(device)}.lock"


def _name(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    index = torch.cuda.current_device() if device.index is None else device.index
    card = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return f"cuda-{index}" if card is None else f"cuda-{card}"


def _opened(file: Path) -> int:
    """A descriptor of the lock, made where there is none, readable by every user. Never follows a link."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with contextlib.suppress(FileExistsError):
            made = os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(made, 0o644)  # whatever the umask
            return made
        found = os.open(file, flags)
    except OSError as fault:
        raise MachineError(f"{file}: {fault.strerror}; have its owner remove it: it locks the accelerator") from fault
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise MachineError(f"{file}: is no file; have its owner remove it: it locks the accelerator")
    return found


def _lock(descriptor: int, device: torch.device) -> None:
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        if fault.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        _log.warning("another run is at work on the accelerator (%s); waiting for it to end", device.type)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
