"""The table of a folder of images: read as text and joined with further tables of the same images.

Each fault names the file, the row (as in a spreadsheet, where the header is row 1) and the fix. By default the first
one is raised; with an `on_fault` that returns, all of them are reported and their rows left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import DataError, Fault, OnFault, refuse
from data.files.archives import without_suffix
from data.files.spreadsheets import read_spreadsheet
from data.manifest import COLUMNS, PART

UNKNOWN = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "not recorded", "null", "unknown"})  # in lower case

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Columns:
    """Names of a table's columns."""

    image: Name = "image_id"  # file name or path below the folder, with or without its suffix
    label: Name | Names = "label"  # or several: the first one that exists and is not empty
    one_hot: tuple[Name, ...] = ()  # one column per label, one of them 1 and the others 0, instead of `label`
    lesion: Name | None = None  # None = lesion_id, if that column exists
    patient: Name | None = None  # None = patient_id, if that column exists
    group: Name | None = None  # anything else whose images a split must keep together


def read_rows(path: Path, extra_tables: Sequence[Path], columns: Columns, on_fault: OnFault = refuse) -> pd.DataFrame:
    """One row per image: the manifest's columns but root and path, `file` as written, then all other columns.

    The index is the row's number in the table.
    """
    table = _read(path, [columns.image], on_fault)
    for other in extra_tables:
        table = _joined(path, table, other, columns.image, on_fault)
    if table.empty:
        raise DataError(f"{path}: has no rows; give a table with a row an image")
    ids = (columns.lesion, columns.patient, columns.group)
    label = _label_columns(table, columns.label)
    _require(path, table, [*(columns.one_hot or label), *filter(None, ids)])
    labels = _one_hot(path, table, columns.one_hot, on_fault) if columns.one_hot else _first_known(table, label)
    table = table.loc[labels.index]
    rows = pd.DataFrame({"file": table[columns.image], "image_id": table[columns.image].map(_image_id)})
    rows["label"] = labels
    rows["lesion_id"] = _ids(table, columns.lesion, "lesion_id")
    rows["patient_id"] = _varied(path, _ids(table, columns.patient, "patient_id"), "patient", on_fault)
    group = _varied(path, _ids(table, columns.group, ""), "group", on_fault)
    rows["group_id"] = _groups(path, rows, group)
    rows["source"], rows["lineage"] = "real", ""
    read = {columns.image, columns.label, columns.group, *columns.one_hot}
    read |= {columns.lesion or "lesion_id", columns.patient or "patient_id"}
    others = [name for name in table.columns if name not in read]
    names = {name: f"table_{name}" if name in {*COLUMNS, PART, "file"} else name for name in others}
    return rows.join(table[others].rename(columns=names))


def report(on_fault: OnFault, where: object, examples: Iterable[str], fix: str) -> None:
    """Report a fault, if there is an example of it."""
    found = tuple(examples)
    if found:
        on_fault(Fault(str(where), found, fix))


def header_of(path: Path) -> list[str]:
    """A table's column names. Raises DataError."""
    return list(read_spreadsheet(path, on_fault=lambda _: None).columns)


def _read(path: Path, needed: Sequence[str], on_fault: OnFault) -> pd.DataFrame:
    table = read_spreadsheet(path, needed, on_fault)
    _require(path, table, needed)
    return table


def _joined(path: Path, table: pd.DataFrame, other: Path, image: str, on_fault: OnFault) -> pd.DataFrame:
    more = _read(other, [image], on_fault)
    repeated = more[image].duplicated()
    again = (f"row {number} repeats image {name!r}" for number, name in more.loc[repeated, image].items())
    report(on_fault, other, again, "remove it")
    lacking = table.loc[~table[image].isin(set(more[image])), image]
    missing = (f"has no row for image {name!r} of {path.name}, row {number}" for number, name in lacking.items())
    report(on_fault, other, missing, "add it")
    new = more[~repeated].set_index(image)[[name for name in more.columns if name not in table.columns]]
    return table.join(new, on=image).fillna("")


def _require(path: Path, table: pd.DataFrame, needed: Sequence[str]) -> None:
    lacking = [repr(name) for name in needed if name not in table.columns]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(lacking)}; it has {' '.join(', '.join(table.columns).split())}: "
            "name one under `columns`"
        )


def _label_columns(table: pd.DataFrame, configured: str | tuple[str, ...]) -> list[str]:
    """The configured label columns that exist; the first configured one if none does."""
    names = [configured] if isinstance(configured, str) else list(configured)
    return [name for name in names if name in table.columns] or names[:1]


def _first_known(table: pd.DataFrame, names: Sequence[str]) -> pd.Series[str]:
    """Each row's first text that is not empty."""
    found = table[names[0]]
    for name in names[1:]:
        found = found.where(found != "", table[name])
    return found


def _ids(table: pd.DataFrame, name: str | None, standard: str) -> pd.Series[str]:
    """The named column, empty where nothing is known; without a name the standard one, or empty if there is none."""
    if name is None and standard not in table.columns:
        return pd.Series("", index=table.index, dtype=str)
    column = table[standard if name is None else name]
    return column.where(~column.str.casefold().isin(UNKNOWN), "")


def _varied(path: Path, column: pd.Series[str], kind: str, on_fault: OnFault) -> pd.Series[str]:
    """The column; one that holds the same everywhere is reported and counts as unknown."""
    if len(column) < 2 or column.iloc[0] == "" or (column != column.iloc[0]).any():  # noqa: PLR2004
        return column
    same = f"the column {column.name!r} holds {column.iloc[0]!r} in every row, so that all images are of one {kind}"
    report(on_fault, path, [same], f"name the right column in `columns.{kind}`, or rename or remove this one")
    return pd.Series("", index=column.index, dtype=str)


def _image_id(name: str) -> str:
    return without_suffix(name.removeprefix("./"))


def _one_hot(path: Path, table: pd.DataFrame, labels: Sequence[str], on_fault: OnFault) -> pd.Series[str]:
    columns = table[list(labels)]
    numbers = columns.apply(pd.to_numeric, errors="coerce")
    wrong = (numbers.sum(axis=1) != 1) | ~numbers.isin([0, 1]).all(axis=1)
    examples = (
        f"row {number} has {', '.join(columns.loc[number])} for {', '.join(labels)}" for number in wrong.index[wrong]
    )
    report(on_fault, path, examples, "one must be 1")
    numbers = numbers[~wrong]
    empty = (f"the label {label!r} has no images" for label in numbers.columns[numbers.sum() == 0])
    report(on_fault, path, empty, "take it out of `one_hot`")
    named: pd.Series[str] = numbers.idxmax(axis=1)
    return named


def _groups(path: Path, rows: pd.DataFrame, column: pd.Series[str]) -> pd.Series[str]:
    """Each image's group: the first known one of group, patient, lesion and image."""
    if not (column.any() or rows["patient_id"].any() or rows["lesion_id"].any()):
        log.warning(
            "%s: no group, patient or lesion is known, so photographs of one lesion can be on both sides of the split, "
            "unless they are nearly the same; name their column under `columns`: lesion, patient or group",
            path,
        )
    groups = "image " + rows["image_id"]
    for kind, known in (("lesion", rows["lesion_id"]), ("patient", rows["patient_id"]), ("group", column)):
        groups = (f"{kind} " + known).where(known != "", groups)
    return groups
