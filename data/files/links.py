"""Symbolic links in a data set: followed where they lead into its folder, or into one that the config names.

A link elsewhere is refused by name, and so is one that leads nowhere or in a circle: what is behind it is never left
out unsaid.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.errors import DataError
from data.files.rules import rules

_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def files_below(folder: Path, root: Path) -> Iterator[Path]:
    """All files below a folder of the data set at `root`, hidden ones left out. Raises DataError for a link astray."""
    allowed = _allowed(root)
    _require(folder, allowed)
    yield from _below(folder, allowed, (folder.resolve(),))


def require_inside(path: Path, root: Path) -> None:
    """Raise DataError for a path that leads out of the data set at `root` by a link."""
    _require(path, _allowed(root))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: those of editors, systems and archives."""
    return name.startswith((".", "__"))


def _below(folder: Path, allowed: Sequence[Path], above: tuple[Path, ...]) -> Iterator[Path]:
    """`above`: the folders that were entered on the way to this one, itself included, without links."""
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not is_hidden(entry.name)]
    for entry in entries:
        path = folder / entry.name
        if entry.is_symlink():
            _require(path, allowed)
        if not entry.is_dir():
            yield path
            continue
        real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
        if any(one.is_relative_to(real) for one in above):
            raise DataError(f"{path}: is a link to {real}, which holds it, so that it has no end; remove it")
        yield from _below(path, allowed, (*above, real))


def _allowed(root: Path) -> tuple[Path, ...]:
    return (root.resolve(), *rules().follow_links)


def _require(path: Path, allowed: Sequence[Path]) -> None:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as fault:  # RuntimeError: a link to itself, before Python 3.13
        if isinstance(fault, OSError) and fault.errno not in _NOWHERE:
            raise
        target = f" is a link to {path.readlink()}, which" if path.is_symlink() else ""
        raise DataError(f"{path}:{target} is not there; restore that, or remove this") from fault
    if not any(real.is_relative_to(place) for place in allowed):
        raise DataError(
            f"{path}: is a link out of the data set, to {real}; name that folder in data.follow_links (predict: "
            "--follow-links), or copy it"
        )
