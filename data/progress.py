"""Long work, shown: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress(Protocol):
    """What long work calls: done of total, and a note such as the loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Tell how far the work is; called often, so it must be cheap."""


class LogProgress:
    """A `Progress` that says a line at most every so many seconds."""

    def __init__(self, say: Callable[[str], None], every: float = 10.0) -> None:
        self._say, self._every = say, every
        self._start = self._last = time.monotonic()
        self._found: int | None = None  # what an earlier run had done

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Say how far the work is, if it is time."""
        now = time.monotonic()
        if self._found is None:
            self._found, self._start = done, now
        if now - self._last < self._every or not self._found < done < total:
            return
        self._last = now
        left = (now - self._start) * (total - done) / (done - self._found)
        self._say(f"{done} of {total}, about {left:.0f} s left" + (f", {note}" if note else ""))


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Progress]:
    """Show one piece of work on a console; a bar goes when the work is done."""
    if not console.is_terminal:
        yield LogProgress(lambda line: console.print(f"{title}: {line}", highlight=False, markup=False))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
    )
    ends = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Bar(*columns, *ends, console=console, transient=True) as shown:
        bar = shown.add_task(title, total=1, note="")
        yield lambda done, total, note="": shown.update(bar, completed=done, total=total, note=note)
