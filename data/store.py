"""Artifacts on disk: a folder is finished if its `artifact.json`, written last, exists and matches its files.

Work is done in `<folder>.partial`, which survives a crash so that a stage can resume from it; finishing renames
it. Whether work is done is decided by that alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from data.durable import make_folder, remove_unfinished, replacing, sync, sync_all
from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RECORD = "artifact.json"
_INPUTS = ".inputs"  # in a working folder: the digest of what it is made from


def digest(*parts: object) -> str:
    """SHA-256 in hex of the parts as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derive_seed(*parts: object) -> int:
    """A 48-bit seed that depends on all parts, the same on every machine."""
    return int(digest(*parts)[:12], 16)


def file_sha256(path: Path) -> str:
    """SHA-256 in hex of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finished(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether the folder holds the finished artifact of these inputs.

    A file with its recorded size and mtime is trusted; one with another mtime is read and its SHA-256 compared. A
    working folder that is complete, and that a kill kept from its name, is moved into place.
    """
    if _is_finished(folder, inputs):
        return True
    if _is_finished(partial_of(folder), inputs):
        _move_complete(folder, inputs)
    return _is_finished(folder, inputs)


def _is_finished(folder: Path, inputs: Mapping[str, Any]) -> bool:
    try:
        record = read_json(folder / RECORD)
        return record["digest"] == digest(inputs) and all(
            _intact(folder / name, entry) for name, entry in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _move_complete(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Finish the work of a process that was killed before its last step; one that is alive does that itself."""
    with contextlib.suppress(filelock.Timeout), _lock(folder).acquire(timeout=0):
        partial = partial_of(folder)
        if not _is_finished(folder, inputs) and _is_finished(partial, inputs):
            _put_in_place(partial, folder)


def damaged_files(folder: Path) -> list[str]:
    """Files of a finished artifact that are not as its record says, by their SHA-256 alone; size and time may lie.

    An artifact whose record is damaged is named by that.
    """
    try:
        files = read_json(folder / RECORD)["files"].items()
        return [name for name, entry in files if not _has_sha256(folder / name, entry["sha256"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [RECORD]


def _has_sha256(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


@contextlib.contextmanager
def building(folder: Path, inputs: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a working folder; if the block raises nothing, record its files and move it to `folder`.

    A working folder left by a crash is reused if its inputs are the same. Two processes never build the same
    folder at once: the second one waits.
    """
    make_folder(folder.parent)
    with _lock(folder), _working(folder, inputs) as partial:
        yield partial


def reopen(folder: Path, *without: str) -> None:
    """Make a finished artifact unfinished: its files, less these, are the working folder that its stage resumes from.

    Raises filelock.Timeout where a process is at work on it, ValueError where it is not finished. After a kill it is
    called again.
    """
    partial, mark = partial_of(folder), folder / _INPUTS
    with _lock(folder).acquire(timeout=0):
        if (folder / RECORD).is_file():
            write_text(mark, str(dict(read_json(folder / RECORD)).get("digest")))
        if not mark.is_file():
            raise ValueError(f"{folder}: is no finished artifact")
        (folder / RECORD).unlink(missing_ok=True)
        if partial.exists():
            shutil.rmtree(partial)
        folder.replace(partial)
        for name in without:
            (partial / name).unlink(missing_ok=True)
        sync(folder.parent)


def make_once(folder: Path, inputs: Mapping[str, Any], make: Callable[[Path], object]) -> Path:
    """The folder of a finished artifact, which `make` writes into a working folder unless it is there.

    Of two processes that ask for one artifact, the second waits, and takes what the first has made.
    """
    if not finished(folder, inputs):
        make_folder(folder.parent)
        with _lock(folder):
            if not _is_finished(folder, inputs):
                with _working(folder, inputs) as partial:
                    make(partial)
    return folder


@contextlib.contextmanager
def _working(folder: Path, inputs: Mapping[str, Any]) -> Iterator[Path]:
    partial = partial_of(folder)
    _claim(partial, digest(inputs))
    yield partial
    remove_unfinished(partial)
    sync_all(partial)
    files = {p.relative_to(partial).as_posix(): _entry(p) for p in sorted(partial.rglob("*")) if p.is_file()}
    del files[_INPUTS]
    write_json(partial / RECORD, {"digest": digest(inputs), "inputs": dict(inputs), "files": files})
    _put_in_place(partial, folder)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Give a complete working folder its name, in place of what is not finished there."""
    if folder.exists():
        shutil.rmtree(folder)
    (partial / _INPUTS).unlink(missing_ok=True)
    sync(partial)
    partial.replace(folder)
    sync(folder.parent)


def _lock(folder: Path) -> filelock.FileLock:
    return filelock.FileLock(folder.with_name(f".{folder.name}.lock"))


def partial_of(folder: Path) -> Path:
    """The working folder of an artifact that is not finished."""
    return folder.with_name(folder.name + ".partial")


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically. Raises ValueError for NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, default=_plain, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a JSON file. Raises OSError or ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON object that an artifact holds, with these keys. Raises DataError for one that is damaged or not there."""
    try:
        record = read_json(path)
        lacking = [key for key in keys if key not in record]
    except (OSError, ValueError, TypeError) as fault:
        raise DataError(f"{path}: is damaged or not there ({fault}); delete {path.parent} and run again") from fault
    if lacking or not isinstance(record, dict):
        raise DataError(f"{path}: is damaged, it lacks {', '.join(lacking)}; delete {path.parent} and run again")
    return record


def _claim(partial: Path, key: str) -> None:
    mark = partial / _INPUTS
    if partial.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == key):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    (partial / RECORD).unlink(missing_ok=True)  # of files that are about to change
    write_text(mark, key)


def _entry(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file_sha256(path)}


def _intact(path: Path, entry: Mapping[str, Any]) -> bool:
    stat = path.stat()
    if stat.st_size != entry["size"]:
        return False
    return bool(stat.st_mtime_ns == entry["mtime_ns"]) or bool(file_sha256(path) == entry["sha256"])


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
