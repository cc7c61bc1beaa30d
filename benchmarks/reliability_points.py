"""The points at which a crash can find a program: before each change of a folder, and in the middle of each write.

A kill leaves the files as they are at that moment, since what a process has not written yet is in none of them. So a
run that nobody stops, looked at before every change, shows every state in which a kill could leave its folder.
Linux only.
"""

import builtins
import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from reliability_disk import Disk

_OF_ONE_PATH = ("mkdir", "unlink", "remove", "rmdir", "truncate")
_OF_TWO_PATHS = ("rename", "replace")


@dataclass(frozen=True)
class Point:
    """A moment of a run: this change is about to be made, or is half made."""

    number: int  # from 0
    kind: str  # open, write, half write, save, half save, fsync, sync, mkdir, rename, unlink, rmdir, truncate
    path: str  # what is changed, from the folder

    @property
    def is_half(self) -> bool:
        """Whether the file that is written holds half of what it is to hold."""
        return self.kind.startswith("half")


OnPoint = Callable[[Point], None]


@contextlib.contextmanager
def crash_points(folder: Path, on_point: OnPoint, disk: Disk | None = None) -> Iterator[None]:
    """Call `on_point` at each crash point of the block under this folder, and let `disk` follow what is put on disk.

    Nothing is put on a real disk, as no power fails: a run takes less time so.
    """
    watch = _Watch(folder.resolve(), on_point, disk)
    with contextlib.ExitStack() as stack:
        for module, name, replacement in watch.replacements():
            stack.enter_context(mock.patch.object(module, name, replacement))
        yield


class _Watch:
    """Stands in for the functions by which a program changes files."""

    def __init__(self, folder: Path, on_point: OnPoint, disk: Disk | None) -> None:
        self._folder, self._on_point, self._disk = str(folder) + os.sep, on_point, disk
        self._count, self._looking = 0, 0  # the second: the thread that looks, whose own changes do not count
        self.lock = threading.RLock()  # one change at a time, though several threads write images

    def replacements(self) -> list[tuple[Any, str, Callable[..., Any]]]:
        """Module, name and what takes the place of the function."""
        return [
            (builtins, "open", self._open(io.open)),
            (io, "open", self._open(io.open)),
            (os, "fsync", self._fsync),
            (os, "sync", self._sync),
            (torch, "save", self._save(torch.save)),
            (safetensors.torch, "serialize_file", self._save(safetensors.torch.serialize_file)),
            *((os, name, self._change(getattr(os, name), name, 0)) for name in _OF_ONE_PATH),
            *((os, name, self._change(getattr(os, name), "rename", 1)) for name in _OF_TWO_PATHS),
        ]

    def inside(self, path: object, dir_fd: int | None = None) -> Path | None:
        """The path, if it is one of a file or folder that is looked at; locks are not."""
        if self._looking == threading.get_ident() or not isinstance(path, (str, os.PathLike)):
            return None
        start = "" if dir_fd is None else str(Path(f"/proc/self/fd/{dir_fd}").readlink())
        found = os.path.abspath(os.path.join(start, os.fspath(path)))  # noqa: PTH100, PTH118 - `resolve` follows links
        is_lock = found.endswith((".lock", os.sep + "lock"))
        return Path(found) if (found + os.sep).startswith(self._folder) and not is_lock else None

    def reach(self, kind: str, path: Path) -> None:
        """Tell of a point."""
        point = Point(self._count, kind, str(path)[len(self._folder) :])
        self._count += 1
        self._looking = threading.get_ident()
        try:
            self._on_point(point)
        finally:
            self._looking = 0

    def _created(self, path: Path) -> None:
        if self._disk is not None:
            self._disk.created(path)

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", buffering: int = -1, *texts: Any, **more: Any) -> Any:  # noqa: ANN401
            path = self.inside(file) if set(mode) & set("wax+") else None
            if path is None:
                return original(file, mode, buffering, *texts, **more)
            raw = self._raw(path, mode.replace("b", "").replace("t", ""))
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *texts, **more)

        return opened

    def _raw(self, path: Path, mode: str) -> "_Raw":
        with self.lock:
            self.reach("open", path)
            is_new = not path.exists()
            raw = _Raw(path, mode, self)
            if is_new:
                self._created(path)
            return raw

    def _change(self, original: Callable[..., None], kind: str, position: int) -> Callable[..., None]:
        def changed(*paths: Any, **more: Any) -> None:  # noqa: ANN401
            path = self.inside(paths[position], more.get("dir_fd"))
            if path is None:
                original(*paths, **more)
                return
            with self.lock:
                self.reach(kind, path)
                original(*paths, **more)
                if kind == "mkdir":
                    self._created(path)

        return changed

    def _fsync(self, descriptor: int) -> None:
        path = self.inside(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path is None:
            return
        with self.lock:
            self.reach("fsync", path)
            if self._disk is not None:
                self._disk.sync(path)

    def _sync(self) -> None:
        with self.lock:
            self.reach("sync", Path(self._folder))
            if self._disk is not None:
                self._disk.sync_all()

    def _save(self, original: Callable[..., None]) -> Callable[..., None]:
        """Libraries that write a file past Python's `open` are made to show it half written, too."""

        def saved(content: object, file: Any, *more: Any, **settings: Any) -> None:  # noqa: ANN401
            path = self.inside(file)
            if path is None:
                original(content, file, *more, **settings)
                return
            with self.lock:
                self.reach("save", path)
                is_new = not path.exists()
                original(content, file, *more, **settings)
                if is_new:
                    self._created(path)
                written = path.read_bytes()
                self._rewrite(path, written[: len(written) // 2])
                self.reach("half save", path)
                self._rewrite(path, written)

        return saved

    def _rewrite(self, path: Path, content: bytes) -> None:
        with io.FileIO(path, "w") as file:
            file.write(content)


class _Raw(io.FileIO):
    """A file whose writes are made in two halves, with a point before each."""

    def __init__(self, path: Path, mode: str, watch: _Watch) -> None:
        super().__init__(path, mode)
        self._path, self._watch = path, watch

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        """Write the whole content."""
        half = len(content) // 2
        with self._watch.lock:
            self._watch.reach("write", self._path)
            written = super().write(content[:half]) if half else 0
            if half:
                self._watch.reach("half write", self._path)
            return (written or 0) + (super().write(content[half:]) or 0)
