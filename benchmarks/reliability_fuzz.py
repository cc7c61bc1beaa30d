"""Damaged and made-up input: each example is read, or refused in one line, at once, and no other file is opened.

A target has a strategy of hypothesis, a reader, and how many examples the full run draws. Every example lies in a
folder of its own; an audit hook sees each file that the process opens.
"""

import contextlib
import logging
import signal
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from flows.execute import disable_progress_bars

SECONDS = 5  # of computing that reading one example may take
WAIT = 60  # seconds that it may take in all, on a machine that is busy with other work
_OWN = (  # where the program's own files lie, and those that the interpreter opens
    sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]),
    "/proc", "/sys", "/dev/null", "/etc/localtime", "/usr/share/zoneinfo", "/usr/lib",
)  # fmt: skip
_opened: list[str] | None = None  # while an example is read


class TooLongError(Exception):
    """Reading took more than SECONDS of computing, or WAIT in all."""


class OpenedElsewhereError(Exception):
    """A file outside the example's folder was opened."""


@dataclass(frozen=True)
class Target:
    """One kind of input."""

    examples: int  # that a full run draws
    strategy: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]  # an example, in a folder of its own
    corpus: tuple[Any, ...] = field(default=())  # what failed once


def attempt(target: Target, example: object) -> bool:
    """Whether the example is taken; False: it is refused in one line. Raises anything else that reading it does."""
    with tempfile.TemporaryDirectory() as name, _watched(Path(name)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.read(example, Path(name))
        except InputError as fault:
            line = str(fault)
            if not line or "\n" in line or "\r" in line:
                raise ValueError(f"not one line: {line!r}") from fault
            return False
        return True


def fuzz(target: Target, examples: int, *, same: bool = False) -> tuple[int, int]:
    """Read so many examples, and what failed once; how many were taken and refused. Raises what hypothesis found.

    `same`: the same examples every time.
    """
    disable_progress_bars()
    logging.disable()
    taken = [attempt(target, example) for example in target.corpus]

    @settings(
        max_examples=examples, derandomize=same, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(target.strategy)
    def one(example: object) -> None:
        taken.append(attempt(target, example))

    try:
        one()
    finally:
        logging.disable(logging.NOTSET)
    return sum(taken), len(taken) - sum(taken)


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """Limit the time, and the files that may be opened to this folder and the program's own."""
    global _opened  # noqa: PLW0603 - an audit hook stays for the life of the process
    _opened = []
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WAIT))
    before = {number: signal.signal(number, _stop) for number, _, _ in timers}
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, timer, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        opened, _opened = _opened, None
    elsewhere = [path for path in opened if not path.startswith((str(folder.resolve()), str(folder), *_OWN))]
    if elsewhere:
        raise OpenedElsewhereError(elsewhere[0])


def _stop(*_: object) -> None:
    raise TooLongError(f"more than {SECONDS} s of computing, or {WAIT} s in all")


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], (str, bytes)):
        name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace")
        _opened.append(str(Path(name).absolute()))


sys.addaudithook(_on_event)
