"""What can go wrong, by who can mend it: bad input is one clear line, the program's own failures are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass


class InputError(ValueError):
    """Something a user can mend: a config, a file, a table. One line that names it; exit code 2."""


class ConfigError(InputError):
    """A config that cannot be meant: unknown key, value out of bounds, overrides that do not parse."""


class DataError(InputError):
    """Images or tables that cannot be used: missing file, conflicting labels, too few groups."""


class BaseError(InputError):
    """Model weights that cannot be used: not found, not safe to load, made for another model."""


class TrainingError(RuntimeError):
    """Training that failed by itself (a loss that is not a number); what was good until then is kept."""


@dataclass(frozen=True)
class Fault:
    """What is wrong in one place, in one case or many alike, and how it is mended."""

    where: str  # the file or folder; may be empty where the case says it
    cases: tuple[str, ...]  # each names its row, where there are rows
    mend: str

    def __str__(self) -> str:
        """Say the first case, the mend and how many more there are, in one line."""
        more = f" (and {len(self.cases) - 1} more)" if self.cases[1:] else ""
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.cases[0]}; {self.mend}{more}"


def exit_code(work: Callable[[], int], stopped: str = "stopped") -> int:
    """Do a command's work and give its exit code, what went wrong being one line on stderr.

    1 for training that failed, 2 for bad input, 130 after Ctrl-C, when it says what `stopped` says.
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


OnFault = Callable[[Fault], None]  # a reader goes on without what is at fault if this returns


def refuse(fault: Fault) -> None:
    """Raise DataError: what a study does with a fault. The doctor notes it and looks for more."""
    raise DataError(str(fault))
