"""The errors of all stages: bad input, which the user can fix, and training that failed by itself."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass

_RIGHTS = "get the right to write there, or set output_dir to another folder"
_FOLDER = "move what is in the way, or set output_dir to another folder"
_OF_MACHINE = {  # errors of the system that are no fault of this program, and what to do
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "it is mounted read-only; set output_dir to another folder",
    errno.ENOTDIR: _FOLDER,
    errno.EEXIST: _FOLDER,
    errno.EISDIR: _FOLDER,
    errno.ENAMETOOLONG: "shorten the study's name, or set output_dir to a folder with a shorter path",
    errno.ENOSPC: "free some space; the same command goes on from what is finished",
    errno.EDQUOT: "free some space; the same command goes on from what is finished",
    errno.EIO: "the disk, or the network that it hangs on, has failed; check it, then run the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end other programs that hold files open",
    errno.ENOMEM: "end what else uses this machine's memory",
}


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


class MachineError(RuntimeError):
    """A fault of the machine: rights, disk, memory. One line; what is finished is kept; exit code 3."""


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

    1 for training that failed, 2 for bad input, 3 for a fault of the machine (rights, disk, memory), 130 after Ctrl-C
    (`stopped` is printed then).
    """
    try:
        return work()
    except InputError as fault:
        print(f"error: {in_one_line(fault)}", file=sys.stderr)
        return 2
    except TrainingError as fault:
        print(f"failed: {in_one_line(fault)}", file=sys.stderr)
        return 1
    except (MachineError, OSError, MemoryError) as fault:
        known = fault if isinstance(fault, MachineError) else machine_error(fault)
        if known is None:
            raise
        print(f"failed: {in_one_line(known)}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return 130


def in_one_line(fault: object) -> str:
    """An error's message in one line, whatever a file's name or a table's cell in it holds; no control characters."""
    return "".join(each if each.isprintable() else " " for each in str(fault))


def machine_error(fault: OSError | MemoryError) -> MachineError | None:
    """The error in one line with its fix, if it is a fault of the machine; None: of the program."""
    if isinstance(fault, MemoryError):
        return MachineError("this machine's memory is used up; end what else uses it, or lower batch_size")
    if fault.errno not in _OF_MACHINE:
        return None
    names = " -> ".join(str(name) for name in (fault.filename, fault.filename2) if name is not None)
    return MachineError(f"{names or 'a file'}: {fault.strerror}; {_OF_MACHINE[fault.errno]}")


OnFault = Callable[[Fault], None]  # if it returns, the reader leaves the faulty rows out and continues


def refuse(fault: Fault) -> None:
    """Raise DataError: a study stops at the first fault. The doctor collects faults and continues."""
    raise DataError(str(fault))
