"""A disk that is full in the midst of the work is one line; other faults stay what they are."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from data.errors import BaseError, InputError, MachineError, TrainingError
from flows.machine_faults import machine_faults_in_one_line

FULL = Path("/dev/full")  # every write to it fails for want of room
MESSAGE = r"^output_dir=\.: the disk is full; free some, and the same command goes on .* larger disk$"


def written_by_hand():
    with FULL.open("w", encoding="utf-8") as file:
        file.write("x")


def raised(fault):
    def fail():
        raise fault

    return fail


def wrapped():
    try:
        raised(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))()
    except OSError as fault:
        raise ValueError("could not be saved") from fault


full = pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no /dev/full")


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(written_by_hand, marks=full),
        pytest.param(lambda: torch.save({"weights": torch.zeros(100_000)}, FULL), marks=full),
        raised(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")),
        raised(RuntimeError("basic_ios::clear: iostream error")),
        wrapped,
    ],
)
def test_a_full_disk_is_one_line(fail, monkeypatch):
    monkeypatch.setattr("flows.machine_faults.shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(InputError, match=MESSAGE), machine_faults_in_one_line("."):
        fail()


@pytest.mark.parametrize(
    "fault",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
        RuntimeError("size mismatch"),
        TrainingError("the loss is not a number"),
        BaseError("base a/b: cannot be loaded (No space left on device); check the network"),
        KeyboardInterrupt(),
        RuntimeError("basic_ios::clear: iostream error"),  # of any write, and there is room
    ],
    ids=repr,
)
def test_other_faults_stay_what_they_are(fault, monkeypatch):
    monkeypatch.setattr("flows.machine_faults.shutil.disk_usage", lambda _: SimpleNamespace(free=10**12))
    with pytest.raises(type(fault)) as caught, machine_faults_in_one_line("."):
        raise fault
    assert caught.value is fault


def test_a_fault_of_the_program_after_a_full_disk_keeps_its_traceback():
    def fail():
        try:
            raised(OSError(errno.ENOSPC, "No space left on device"))()
        except OSError:
            raise ValueError("a fault") from None

    with pytest.raises(ValueError, match=r"^a fault$") as caught, machine_faults_in_one_line("."):
        fail()
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            "^x: Permission denied; get the right",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/proc/elsewhere"), "^/proc/elsewhere: No space left on"),
        (MemoryError(), "memory is used up"),
    ],
)
def test_other_faults_of_the_machine_are_one_line_and_no_bad_input(fault, line):
    with pytest.raises(MachineError, match=line), machine_faults_in_one_line("."):
        raise fault
