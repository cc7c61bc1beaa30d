"""Pieces of work by hand, shown in a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from data.progress import Progress, progress_bar
from flows.steps import Result


class TerminalRunner:
    """A `Runner` that runs each piece of work at once and prints a line for it."""

    def __init__(self, console: Console) -> None:
        self._console, self._count, self._total = console, 0, 0

    def expect(self, pieces: int) -> None:
        """Number the pieces of work from now on: 4/17."""
        self._total = self._count + pieces

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work."""
        self._count += 1
        number = f"{self._count:>2}/{self._total}" if self._total else f"{self._count:>2}"
        title = f"{number} {stage} {what}".rstrip()
        with progress_bar(self._console, title) as progress:
            done = work(progress)
        self._console.print(f"{title}: {done.outcome}", highlight=False, markup=False, soft_wrap=True)
        return done
