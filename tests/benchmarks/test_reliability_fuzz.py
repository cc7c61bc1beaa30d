"""Damaged and made-up input is read or refused in one line: a short form of `benchmarks/reliability.py fuzz`."""

import time
from pathlib import Path

import pytest

from data.errors import InputError

SHARE = {"images": 150, "tables": 150, "configs": 60, "weight files": 100, "base folders": 4, "zips": 60}


@pytest.fixture(scope="module")
def fuzzing():
    import reliability_fuzz
    import reliability_inputs

    return reliability_fuzz, reliability_inputs.targets()


@pytest.mark.parametrize("name", SHARE)
def test_input_is_taken_or_refused_in_one_line(name, fuzzing):
    program, targets = fuzzing
    assert set(targets) == set(SHARE)
    taken, refused = program.fuzz(targets[name], SHARE[name], same=True)
    assert taken + refused >= SHARE[name]
    assert refused


def refusing(message):
    def read(example, folder):
        raise InputError(message)

    return read


def opening(example, folder):
    Path("/etc/hostname").exists()
    Path("/etc/passwd").read_bytes()


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (refusing("a\nb"), ValueError),
        (refusing(""), ValueError),
        (lambda example, folder: {}[example], KeyError),
        (opening, "OpenedElsewhereError"),
        (lambda example, folder: time.sleep(60), "TooLongError"),
        (lambda example, folder: [None for _ in iter(int, 1)], "TooLongError"),
    ],
)
def test_a_fault_of_every_kind_is_found(read, fault, fuzzing, monkeypatch):
    program, _ = fuzzing
    monkeypatch.setattr(program, "SECONDS", 0.3)
    monkeypatch.setattr(program, "WAIT", 2)
    with pytest.raises(getattr(program, fault) if isinstance(fault, str) else fault):
        program.attempt(program.Target(1, None, read), b"")


def test_a_file_of_its_own_may_be_opened(fuzzing):
    program, _ = fuzzing
    assert program.attempt(program.Target(1, None, lambda example, folder: (folder / "x").write_bytes(example)), b"x")
