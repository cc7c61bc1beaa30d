"""Files that are whole or absent, after a kill and after a power cut.

A file is written under another name, put on disk, and moved; the folder that names it is put on disk too, since a
rename that is not may be lost, or outlive the bytes that it names.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MANY = 16  # files
_TEMPORARY = ".*.tmp"  # what `temporary_of` names look like


@contextlib.contextmanager
def replacing(path: Path, *, on_disk: bool = True) -> Iterator[Path]:
    """Yield the name under which to write a file; if the block raises nothing, it gets its own name.

    `on_disk` False: for one of many files, which `sync_all` puts on disk together; a kill does not need that.
    """
    if on_disk:
        make_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path, os.getpid())
    try:
        yield temporary
        if on_disk:
            sync(temporary)
        temporary.replace(path)
        if on_disk:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, and put their names on disk."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def temporary_of(path: Path, process: int | str) -> Path:
    """The name under which a process writes a file until it is complete; "*": a pattern for those of all processes."""
    return path.with_name(f".{path.name}.{process}.tmp")


def remove_unfinished(folder: Path, *, below: bool = True) -> None:
    """Delete what killed processes left half written, in the folder and, unless it is told otherwise, below."""
    for path in folder.rglob(_TEMPORARY) if below else folder.glob(_TEMPORARY):
        path.unlink()


def sync(path: Path) -> None:
    """Put a file's bytes, or a folder's names, on disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder, and keeps its names in a journal
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows syncs what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Put everything in a folder on disk, many files by one call for the whole system, which takes less time."""
    paths = [path for path in (*folder.rglob("*"), folder) if not path.is_symlink()]
    if len(paths) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for path in sorted(paths, key=lambda path: (path.is_dir(), -len(path.parts))):  # the names after what they name
        sync(path)
