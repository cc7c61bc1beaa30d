"""Sets of images that a person has accepted: each is a folder that `arms:` takes as it is.

`metadata.csv` has a row an accepted image: label, prompt, settings, seed, what it was edited from. `generation.json`
has what their generators have seen, so that a study refuses a set of a generator that has seen its test part.
`choices.json` counts what was accepted and rejected. A file is written before the table that names it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from augment.generate.record import GeneratedImages
from classify.arms import arm_of
from data.durable import replacing
from data.errors import DataError, InputError
from data.manifest import read_table
from data.sources.external import CHOICES, GENERATION, METADATA
from data.splits.provenance import Provenance
from data.store import digest, file_sha256, read_json, write_json, write_text

FOLDER = "accepted"  # within the run
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one drawing, of which a person takes some."""

    images: Sequence[Path]
    rows: pd.DataFrame  # their rows of metadata.csv
    record_folder: Path  # where their generation.json lies

    @property
    def label(self) -> str:
        """Their class."""
        return str(self.rows["label"].iloc[0])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images of a class that a person has decided on."""

    accepted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class AcceptedSet:
    """A set by its folder, RUN/accepted/NAME; it need not be there yet."""

    folder: Path

    @staticmethod
    def of(run_folder: Path, name: str) -> AcceptedSet:
        """The set of this name. Raises InputError for a name that no arm can have."""
        if not _NAME.fullmatch(name):
            raise InputError(f"set {name!r}: take a name of a-z, 0-9 and dashes, up to 50, such as by-hand")
        if arm_of(name) is not None or name == "random-split":
            raise InputError(f"set {name!r}: is the name of another arm; take one such as by-hand")
        return AcceptedSet(run_folder.resolve() / FOLDER / name)

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.folder.name

    def counts(self) -> dict[str, Counts]:
        """What was decided, by class. Raises DataError for a damaged choices.json."""
        return {label: Counts(**found) for label, found in self._choices()["classes"].items()}

    def decide(self, batch: Batch, accepted: Sequence[int]) -> int:
        """Add these images of the batch to the set and count the others as rejected; how many were added.

        An image that is in the set already is not added a second time. Raises InputError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.folder.with_name(f".{self.name}.lock")):
            before, table = self._choices(), self._table()
            names = {row: self._name(batch, row) for row in sorted(set(accepted))}
            new = {row: name for row, name in names.items() if name not in set(table["file_name"])}
            if new:
                self._add(batch, new, table)
            self._count(batch, len(new), len(batch.images) - len(names), before)
        return len(new)

    def _add(self, batch: Batch, names: dict[int, str], table: pd.DataFrame) -> None:
        self._add_provenance(batch)  # first: the set never says less than its images have seen
        for row, name in names.items():
            target = self.folder / name
            target.parent.mkdir(exist_ok=True)
            with replacing(target) as temporary:
                shutil.copyfile(batch.images[row], temporary)
        rows = batch.rows.iloc[list(names)].assign(file_name=list(names.values()), chosen="by hand")
        whole = pd.concat([table, rows], ignore_index=True).fillna("")
        write_text(self.folder / METADATA, whole.to_csv(index=False, lineterminator="\n"))

    def _add_provenance(self, batch: Batch) -> None:
        record, path = GeneratedImages.read(batch.record_folder), self.folder / GENERATION
        before = _read(path, {"provenance": Provenance().to_record(), "generators": []})
        seen = Provenance.from_record(before["provenance"]) | record.provenance
        own = {name: value for name, value in record.to_record().items() if name != "provenance"}
        generators = [*before["generators"], *([own] if own not in before["generators"] else [])]
        write_json(path, {"provenance": seen.to_record(), "generators": generators})

    def _count(self, batch: Batch, added: int, rejected: int, before: dict[str, Any]) -> None:
        own = before["classes"].get(batch.label, {"accepted": 0, "rejected": 0})
        own = {"accepted": own["accepted"] + added, "rejected": own["rejected"] + rejected}
        write_json(self.folder / CHOICES, {"classes": {**before["classes"], batch.label: own}})

    def _choices(self) -> dict[str, Any]:
        return _read(self.folder / CHOICES, {"classes": {}})

    def _table(self) -> pd.DataFrame:
        path = self.folder / METADATA
        return read_table(path) if path.is_file() else pd.DataFrame({"file_name": []}, dtype=str)

    def _name(self, batch: Batch, row: int) -> str:
        """A name by the image's bytes, so that the same image has the same one."""
        path = batch.images[row]
        return f"images/{batch.label}-{digest(file_sha256(path))[:16]}{path.suffix}"


def sets_of(run_folder: Path) -> list[AcceptedSet]:
    """The sets of a run, by name."""
    return [AcceptedSet(path.parent) for path in sorted((run_folder.resolve() / FOLDER).glob(f"*/{CHOICES}"))]


def arms_setting(arms: Sequence[object], chosen: AcceptedSet) -> str:
    """The override of `lesionloom run` that adds the set as an arm to a study's arms."""
    others = [_entry(arm) for arm in arms if getattr(arm, "name", None) != chosen.name]
    return f"arms=[{', '.join([*others, f'{{folder: {_quoted(str(chosen.folder))}, name: {chosen.name}}}'])}]"


def _entry(arm: object) -> str:
    name, folder = getattr(arm, "name", None), getattr(arm, "folder", None)
    return str(arm) if folder is None else f"{{folder: {_quoted(str(folder))}, name: {name}}}"


def _quoted(text: str) -> str:
    """Text as YAML, quoted where it is not plain."""
    return text if re.fullmatch(r"[\w/.-]+", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(path: Path, empty: dict[str, Any]) -> dict[str, Any]:
    try:
        found = read_json(path)
    except FileNotFoundError:
        return empty
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read ({fault}); restore it, or move the set away") from fault
    if not isinstance(found, dict) or not empty.keys() <= found.keys():
        raise DataError(f"{path}: is not as the page wrote it; restore it, or move the set away")
    return found
