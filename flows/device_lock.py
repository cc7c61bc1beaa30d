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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import torch

from data.errors import MachineError

_SHARED = Path("/tmp")  # noqa: S108 - every user's; TMPDIR may be one user's alone
_POLL = 0.25  # seconds between two looks at a lock that another process holds
_log = logging.getLogger(__name__)


class NotAwaitedError(Exception):
    """The device was still held by another process when nobody waited for it any more."""


@contextmanager
def holding(device: torch.device, waits: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Hold the device, after whoever holds it now.

    `waits` is asked again and again while another process holds it. Raises NotAwaitedError once it says no, and
    MachineError where the lock can't be read.
    """
    file = lock_file(device)
    if os.name == "nt":  # one user's machine
        lock = filelock.FileLock(file)
        _wait(lambda: _acquired(lock), device, waits)
        try:
            yield
        finally:
            lock.release()
        return
    descriptor = _opened(file)
    try:
        _wait(lambda: _locked(descriptor), device, waits)
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


def _wait(taken: Callable[[], bool], device: torch.device, waits: Callable[[], bool]) -> None:
    """Try to take the lock until that succeeds. Raises NotAwaitedError."""
    if taken():
        return
    _log.warning("another run is at work on the accelerator (%s); waiting for it to end", device.type)
    while not taken():
        if not waits():
            raise NotAwaitedError
        time.sleep(_POLL)


def _locked(descriptor: int) -> bool:
    """Whether the lock is this process's now."""
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        if fault.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True
