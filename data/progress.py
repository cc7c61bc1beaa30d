"""Progress of long work: a bar in a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@runtime_checkable  # for the type checks in tests
class Progress(Protocol):
    """Callback of long work: steps done, of how many, and a note such as the loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress; called often, so it must be cheap."""


class LogProgress:
    """A `Progress` that logs a line at most every `every` seconds."""

    def __init__(self, log: Callable[[str], None], every: float = 10.0) -> None:
        self._log, self._every = log, every
        self._start = self._last = time.monotonic()
        self._resumed_at: int | None = None  # steps that an earlier run had done

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Log steps done and the time left, if the last line is long enough ago."""
        now = time.monotonic()
        if self._resumed_at is None:
            self._resumed_at, self._start = done, now
        if now - self._last < self._every or not self._resumed_at < done < total:
            return
        self._last = now
        left = (now - self._start) * (total - done) / (done - self._resumed_at)
        self._log(f"{done} of {total}, about {left:.0f} s left" + (f", {note}" if note else ""))


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Progress]:
    """A `Progress` shown on a console: a bar that disappears at the end, or log lines if it is no terminal."""
    if not console.is_terminal:
        yield LogProgress(lambda line: console.print(f"{title}: {line}", highlight=False, markup=False, soft_wrap=True))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
    )
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with RichProgress(*columns, *times, console=console, transient=True) as bars:
        bar = bars.add_task(title, total=1, note="")
        yield lambda done, total, note="": bars.update(bar, completed=done, total=total, note=note)
