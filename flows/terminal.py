"""Steps by hand, shown in a terminal: a bar where there is one, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.steps import Done, Finished, Watch


class Terminal:
    """A `Conductor` that runs each step at once and prints a line for it."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps, self._count = console, steps, 0

    def __call__(self, stage: str, what: str, work: Callable[[Watch], Finished]) -> Finished:
        """Run one step."""
        self._count += 1
        title = f"{self._count:>2}/{self._steps} {stage} {what}".rstrip()
        with self._watch(title) as watch:
            done = work(watch)
        self._console.print(f"{title}: {outcome(done)}", highlight=False, markup=False)
        return done

    @contextmanager
    def _watch(self, title: str) -> Iterator[Watch]:
        if not self._console.is_terminal:
            yield Spoken(lambda line: self._console.print(f"{title}: {line}", highlight=False, markup=False))
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        )
        ends = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, *ends, console=self._console, transient=True) as progress:
            bar = progress.add_task(title, total=1, note="")
            yield lambda done, total, note="": progress.update(bar, completed=done, total=total, note=note)


class Spoken:
    """A `Watch` that says a line at most every so many seconds."""

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


def outcome(done: Done) -> str:
    """Say what became of a step, in words."""
    return f"kept from before (took {done.seconds:.0f} s)" if done.reused else f"{done.seconds:.0f} s"
