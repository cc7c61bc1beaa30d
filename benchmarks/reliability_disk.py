"""What a power cut leaves of a folder: the bytes and the names that were put on disk before it.

A file's bytes are on disk after fsync of that file, a folder's names after fsync of that folder, as POSIX has it; no
file system keeps less. Files and folders are told apart by inode, so that a rename is no new file.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False)
class _Node:
    """A file or a folder, with what of it is on disk."""

    is_folder: bool
    content: bytes | None = None  # None: nothing was ever put on disk
    names: dict[str, "_Node"] = field(default_factory=dict)


class Disk:
    """Follows a folder that is being changed, and gives what a power cut would leave of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live: dict[int, _Node] = {}  # by inode
        self.sync_all()

    def created(self, path: Path) -> None:
        """Take note of a new file or folder; its inode may have been another's."""
        self._live[path.lstat().st_ino] = _Node(path.is_dir())

    def sync(self, path: Path) -> None:
        """Put a file's bytes, or a folder's names, on disk."""
        node = self._node(path)
        if node.is_folder:
            node.names = {child.name: self._node(child) for child in path.iterdir()}
        else:
            node.content = path.read_bytes()

    def sync_all(self) -> None:
        """Put everything on disk."""
        for path in (self._folder, *self._folder.rglob("*")):
            self.sync(path)

    def write_remains(self, target: Path, *, keep_names: bool, zeros: bool = False) -> None:
        """Write what a power cut now would leave into a folder that is not there.

        With `keep_names` all names have reached the disk, though the bytes that they name may not have: such a file is
        empty, or has its length and time of change, but `zeros` for bytes. Without, names are as they were last synced.
        """
        if keep_names:
            self._write_live(self._folder, target, zeros=zeros)
        else:
            self._write_synced(self._node(self._folder), target)

    def _node(self, path: Path) -> _Node:
        return self._live.setdefault(path.lstat().st_ino, _Node(path.is_dir()))

    def _write_synced(self, node: _Node, target: Path) -> None:
        if not node.is_folder:
            target.write_bytes(node.content or b"")
            return
        target.mkdir()
        for name, child in node.names.items():
            self._write_synced(child, target / name)

    def _write_live(self, source: Path, target: Path, *, zeros: bool) -> None:
        if source.is_dir():
            target.mkdir()
            for child in source.iterdir():
                self._write_live(child, target / child.name, zeros=zeros)
            return
        stat, content = source.stat(), self._node(source).content or b""
        target.write_bytes(content.ljust(stat.st_size, b"\0")[: stat.st_size] if zeros else content)
        os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
