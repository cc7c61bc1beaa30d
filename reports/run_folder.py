"""A finished run folder, read file by file; whatever is missing or broken is named with its fix.

Only what lies inside the folder is read, so that a report can be drawn again on another machine. A study that is
repeated has a folder of records for each repeat within its own, `repeats/seed-1`, whose artefacts lie in the study's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from data.errors import ConfigError, InputError
from data.manifest import read_table
from data.store import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

Record = TypeVar("Record")

_RECORD_KEYS = (
    "name", "started", "finished", "config", "versions", "machine", "seeds", "base", "regime", "rare", "arms",
    "classes", "artifacts", "timings",
)  # fmt: skip
REPEATS = "repeats"  # the folder within a study that holds each repeat's records
_PICTURES = (".jpg", ".jpeg", ".png")
_FIX = "delete its folder and start the run again"
_FIX_RUN = "start the run again to write it anew"


@dataclass(frozen=True)
class RunFolder:
    """A run folder and its `run.json`."""

    path: Path
    record: dict[str, Any]

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Raises InputError where the folder is no finished run."""
        if not path.is_dir():
            raise InputError(f"{path}: is no folder; give the folder of a finished run, e.g. runs/demo")
        if not (path / "run.json").is_file():
            raise InputError(f"{path}/run.json: is not there, so the run has not ended; start it again to finish it")
        record = _json(path / "run.json", _FIX_RUN)
        if repeats := repeats_of(path):
            raise InputError(f"{path}: is a study of several repeats; give the folder of one, e.g. {repeats[0]}")
        missing = [key for key in _RECORD_KEYS if key not in record] if isinstance(record, dict) else ["everything"]
        if missing:
            raise InputError(f"{path}/run.json: lacks {', '.join(missing)}; {_FIX_RUN}")
        if record["config"].get("is_repeat") and path.absolute().parent.name != REPEATS:
            raise InputError(f"{path}: is a repeat of a study; it must lie within the study, in its folder {REPEATS}")
        return RunFolder(path, record)

    @property
    def study(self) -> Path:
        """The study's folder, which holds the artefacts: the run folder itself, or that in which this repeat lies."""
        return self.path.absolute().parents[1] if self.record["config"].get("is_repeat") else self.path

    def artifact(self, *keys: str) -> Path:
        """Folder of an artifact, e.g. `artifact("arm", "real", "0")`."""
        entry: Any = self.record["artifacts"]
        for key in keys:
            entry = entry.get(key) if isinstance(entry, dict) else None
        name = " ".join(keys)
        if not isinstance(entry, str):
            raise InputError(f"{self.path}/run.json: names no folder for {name}; start the run again to finish it")
        if PurePosixPath(entry).is_absolute() or ".." in PurePosixPath(entry).parts:
            raise InputError(f"{self.path}/run.json: the folder for {name} is {entry!r}; it must lie within the run")
        return self.study / entry

    def names(self, kind: str) -> tuple[str, ...]:
        """What the artifacts of a kind are recorded under, e.g. the labels of fine-tunes; () where there are none."""
        return tuple(self.record["artifacts"].get(kind, {}))

    def json(self, folder: Path, name: str) -> dict[str, Any]:
        """A JSON object within an artifact or the run folder itself."""
        fix = _FIX_RUN if folder == self.path else _FIX
        value = _json(folder / name, fix)
        if not isinstance(value, dict):
            raise InputError(f"{folder / name}: holds {type(value).__name__}, not an object; {fix}")
        return value

    def record_of(self, folder: Path, name: str, read: Callable[[Path], Record]) -> Record:
        """The record in an artifact's folder, by the reader of its own class."""
        _require_file(folder / name, _FIX)
        try:
            return read(folder)
        except ConfigError as fault:  # it names the file and the field
            raise InputError(f"{fault}; {_FIX}") from fault
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise InputError(f"{folder / name}: is no record that can be read ({fault}); {_FIX}") from fault

    def table(self, folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """A table within an artifact, every cell as text; it must have the columns."""
        _require_file(folder / name, _FIX)
        table = read_table(folder / name)
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise InputError(f"{folder / name}: lacks the columns {', '.join(missing)}; {_FIX}")
        return table

    def probabilities(self, arm: str, seed: str, images: Sequence[str], classes: Sequence[str]) -> NDArray[np.float64]:
        """Test probabilities [images, classes] of one arm and seed, in the images' order."""
        folder = self.artifact("arm", arm, seed)
        table = self.table(folder, "predictions.csv", ["image"]).set_index("image")
        path = folder / "predictions.csv"
        columns = {name.casefold(): name for name in table.columns}  # the challenge's header is in capitals
        lacking = [label for label in classes if label not in table.columns and label.casefold() not in columns]
        if lacking:
            raise InputError(f"{path}: has no column for the class {lacking[0]!r}; {_FIX}")
        absent = [image for image in images if image not in table.index]
        if absent or len(table) != len(images):
            what = f"no row for test image {absent[0]!r}" if absent else f"{len(table)} rows for {len(images)} images"
            raise InputError(f"{path}: has {what}; {_FIX}")
        names = [label if label in table.columns else columns[label.casefold()] for label in classes]
        rows = table.loc[list(images), names].to_numpy().tolist()
        values = np.asarray([_numbers(path, i, row) for i, row in enumerate(rows)])
        return values.reshape(len(images), len(classes))

    def pictures(self, folder: Path, pattern: str = "*") -> tuple[str, ...]:
        """Pictures whose name fits, relative to the run folder, in counting order."""
        found = [p for p in folder.glob(pattern) if p.suffix.lower() in _PICTURES and p.is_file()]
        ordered = sorted(found, key=lambda p: (len(p.name), p.name))
        return tuple(Path(os.path.relpath(p, self.path)).as_posix() for p in ordered)


def repeats_of(folder: Path) -> tuple[Path, ...]:
    """The folders of a study's repeats, as its run.json names them; () for a single run and for any other folder.

    Raises InputError for one that would lie outside.
    """
    try:
        names = read_json(folder / "run.json")["repeats"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{folder}/run.json: names the repeat {name!r}; it must lie within the run")
    return tuple(folder / name for name in names)


def _require_file(path: Path, fix: str) -> None:
    if not path.is_file():
        raise InputError(f"{path}: is not there; {fix}")


def _json(path: Path, fix: str) -> Any:  # noqa: ANN401 - whatever the file holds
    _require_file(path, fix)
    try:
        return read_json(path)
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: is not readable as JSON ({fault}); {fix}") from fault


def _numbers(path: Path, row: int, cells: Sequence[str]) -> list[float]:
    try:
        values = [float(cell) for cell in cells]
    except ValueError as fault:
        raise InputError(f"{path}: test image {row + 1} has a probability that is no number; {_FIX}") from fault
    if not np.isfinite(values).all():
        raise InputError(f"{path}: test image {row + 1} has a probability that is not finite; {_FIX}")
    return values
