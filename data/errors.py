"""The errors of all stages: bad input, which the user can fix, and training that failed by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass


class InputError(ValueError):
    """Something a user can fix: a config, a file, a table. One line that names it; exit code 2."""


class ConfigError(InputError):
    """Invalid config: unknown key, value out of range or override that cannot be parsed."""


class DataError(InputError):
    """Images or tables that cannot be used: missing file, conflicting labels, too few groups."""


class BaseError(InputError):
    """Model weights that cannot be used: not found, not safe to load, made for another model."""


class TrainingError(RuntimeError):
    """Training that failed by itself (a loss that is not finite); earlier checkpoints are kept."""


@dataclass(frozen=True)
class Fault:
    """One kind of error in one place, with all examples of it and how to fix them."""

    where: str  # the file or folder; empty if the examples name it
    examples: tuple[str, ...]  # each names its row, if there are rows
    fix: str

    def __str__(self) -> str:
        """The first example, the fix and the number of further examples, in one line."""
        more = f" (and {len(self.examples) - 1} more)" if self.examples[1:] else ""
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.examples[0]}; {self.fix}{more}"


def exit_code(work: Callable[[], int], stopped: str = "stopped") -> int:
    """Run a command and return its exit code; an error is printed to stderr in one line.

    1 for training that failed, 2 for bad input, 130 after Ctrl-C (`stopped` is printed then).
    """
    try:
        return work()
    except InputError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except TrainingError as fault:
        print(f"failed: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return 130


OnFault = Callable[[Fault], None]  # if it returns, the reader leaves the faulty rows out and continues


def refuse(fault: Fault) -> None:
    """Raise DataError: a study stops at the first fault. The doctor collects faults and continues."""
    raise DataError(str(fault))
