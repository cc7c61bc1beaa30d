"""Steps by hand, shown in a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from data.progress import Watch, watched
from flows.steps import Finished


class Terminal:
    """A `Conductor` that runs each step at once and prints a line for it."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps, self._count = console, steps, 0

    def __call__(self, stage: str, what: str, work: Callable[[Watch], Finished]) -> Finished:
        """Run one step."""
        self._count += 1
        title = f"{self._count:>2}/{self._steps} {stage} {what}".rstrip()
        with watched(self._console, title) as watch:
            done = work(watch)
        self._console.print(f"{title}: {done.outcome}", highlight=False, markup=False, soft_wrap=True)
        return done
