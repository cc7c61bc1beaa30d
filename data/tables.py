"""A table beside a folder of images: read as text, joined, checked, and every image found.

Each fault is one line that names file, row (as a spreadsheet counts, the header being 1) and mend.
"""

from __future__ import annotations

import filecmp
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import DataError
from data.manifest import COLUMNS, read_table

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Columns:
    """What a table's columns are called."""

    image: str = "image_id"  # file name or path below the folder, with or without its ending
    label: str = "label"
    one_hot: tuple[str, ...] = ()  # one column a label, one of them 1 and the others 0, instead of `label`
    lesion: str | None = None  # None = lesion_id, if there is such a column
    patient: str | None = None  # None = patient_id, if there is such a column
    group: str | None = None  # anything else whose images must stay on one side of a split


def read_rows(path: Path, further: Sequence[Path], columns: Columns) -> pd.DataFrame:
    """Read a row an image: the manifest's columns but root and path, `file` as written, then all others.

    The index is the row's number in the table.
    """
    given = _stripped(path, [columns.image])
    for other in further:
        given = _joined(path, given, other, columns.image)
    if given.empty:
        raise DataError(f"{path}: has no rows; give a table with a row an image")
    rows = pd.DataFrame({"file": given[columns.image], "image_id": given[columns.image].map(without_suffix)})
    rows["label"] = _one_hot(path, given, columns.one_hot) if columns.one_hot else _column(path, given, columns.label)
    rows["lesion_id"] = _column(path, given, columns.lesion, "lesion_id")
    rows["patient_id"] = _column(path, given, columns.patient, "patient_id")
    rows["group_id"] = _groups(path, rows, _column(path, given, columns.group, ""))
    rows["source"], rows["lineage"] = "real", ""
    read = {columns.image, columns.label, columns.group, *columns.one_hot}
    read |= {columns.lesion or "lesion_id", columns.patient or "patient_id"}
    others = [name for name in given.columns if name not in read]
    names = {name: f"table_{name}" if name in {*COLUMNS, "file"} else name for name in others}
    return rows.join(given[others].rename(columns=names))


def check_rows(path: Path, rows: pd.DataFrame) -> None:
    """Refuse repeated images, empty or half-equal labels, and a lesion with two labels."""
    for name in ("image_id", "label"):
        if (rows[name] == "").any():
            raise DataError(f"{path}: row {(rows[name] == '').idxmax()} has no {name}; fill it in or remove the row")
    for image, same in rows[rows["image_id"].duplicated(keep=False)].groupby("image_id"):
        (one, label), (other, another) = list(same["label"].items())[:2]
        labels = "" if label == another else f" as {label!r} and {another!r}"
        raise DataError(f"{path}: rows {one} and {other} both are image {image!r}{labels}; remove one")
    folded = defaultdict(set)
    for label in set(rows["label"]):
        folded[label.casefold()].add(label)
    for alike in folded.values():
        if len(alike) > 1:
            raise DataError(f"{path}: the labels {' and '.join(sorted(alike))} differ in case alone; `rename` one")
    known = rows[rows["lesion_id"] != ""]
    for lesion, same in known[known.groupby("lesion_id")["label"].transform("nunique") > 1].groupby("lesion_id"):
        one, other = same.drop_duplicates("label").index[:2]
        raise DataError(
            f"{path}: lesion {lesion!r} is {same['label'][one]!r} in row {one} and {same['label'][other]!r} "
            f"in row {other}; give it one label, or each its own lesion"
        )


def find_images(path: Path, rows: pd.DataFrame, folder: Path, places: Iterable[str]) -> list[str]:
    """Find each row's image in these folders below `folder`; paths come back relative to that."""
    images = _index(folder, places)
    found, missing = [], []
    for number, name in rows["file"].items():
        candidates = images.get(name.replace("\\", "/"), [])
        if not candidates:
            missing.append((number, name))
            continue
        if any(not filecmp.cmp(folder / candidates[0], folder / other, shallow=False) for other in candidates[1:]):
            raise DataError(f"{path}: row {number}: {name!r} may be {candidates[0]} or {candidates[1]}; write its path")
        found.append(candidates[0])
    if missing:
        (number, name), more = missing[0], f" ({len(missing)} rows lack theirs)" if missing[1:] else ""
        raise DataError(f"{path}: row {number}: no image {name!r} below {folder}; add it or remove the row{more}")
    twice = pd.Series(found, index=rows.index)
    twice = twice[twice.duplicated(keep=False)].sort_values(kind="stable")
    if len(twice):
        raise DataError(
            f"{path}: rows {twice.index[0]} and {twice.index[1]} mean the same file {twice.iloc[0]}; remove one"
        )
    return found


def image_files(folder: Path) -> list[Path]:
    """List all images below a folder, sorted; not the hidden ones that macOS leaves in archives."""
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(p for p in paths if not any(part.startswith((".", "__")) for part in p.relative_to(folder).parts))


def without_suffix(name: str) -> str:
    """Cut an image's ending off its name; `scan.v2` keeps its own."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


def _stripped(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a table, its separator told from its header; rows numbered as a spreadsheet does."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
    except (OSError, UnicodeDecodeError) as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault}); give a CSV file in UTF-8") from fault
    table = read_table(path, max(",\t;", key=header.count))
    table.columns = table.columns.str.strip()
    for name in needed:
        _column(path, table, name)
    stripped: pd.DataFrame = table.apply(lambda column: column.str.strip())
    return stripped.set_axis(range(2, len(table) + 2))


def _joined(path: Path, given: pd.DataFrame, other: Path, image: str) -> pd.DataFrame:
    more = _stripped(other, [image])
    repeated = more[image].duplicated()
    if repeated.any():
        number, name = next(iter(more.loc[repeated, image].items()))
        raise DataError(f"{other}: row {number} repeats image {name!r}; remove it")
    lacking = ~given[image].isin(set(more[image]))
    if lacking.any():
        number, name = next(iter(given.loc[lacking, image].items()))
        raise DataError(f"{other}: has no row for image {name!r} of {path.name}, row {number}; add it")
    new = more.set_index(image)[[name for name in more.columns if name not in given.columns]]
    return given.join(new, on=image)


def _column(path: Path, table: pd.DataFrame, name: str | None, standard: str = "") -> pd.Series[str]:
    """Take the named column; with no name the standard one, or empty text where there is none."""
    if name is None and standard not in table.columns:
        return pd.Series("", index=table.index, dtype=str)
    wanted = standard if name is None else name
    if wanted not in table.columns:
        raise DataError(f"{path}: no column {wanted!r}; it has {', '.join(table.columns)}: name one under `columns`")
    return table[wanted]


def _one_hot(path: Path, given: pd.DataFrame, labels: Sequence[str]) -> pd.Series[str]:
    chosen = pd.DataFrame({label: _column(path, given, label) for label in labels})
    numbers = chosen.apply(pd.to_numeric, errors="coerce")
    wrong = (numbers.sum(axis=1) != 1) | ~numbers.isin([0, 1]).all(axis=1)
    if wrong.any():
        number = wrong.idxmax()
        raise DataError(
            f"{path}: row {number} has {', '.join(chosen.loc[number])} for {', '.join(labels)}; one must be 1"
        )
    empty = numbers.columns[numbers.sum() == 0]
    if len(empty):
        raise DataError(f"{path}: the label {empty[0]!r} has no images; take it out of `one_hot`")
    named: pd.Series[str] = numbers.idxmax(axis=1)
    return named


def _groups(path: Path, rows: pd.DataFrame, given: pd.Series[str]) -> pd.Series[str]:
    """Name each image's group by the first of group, patient, lesion and image that is known."""
    if not (given.any() or rows["patient_id"].any() or rows["lesion_id"].any()):
        log.warning(
            "%s: no group, patient or lesion is known, so each image is a group of its own; photographs of one "
            "lesion can come to stand on both sides of the split, unless they are near-duplicates",
            path,
        )
    groups = "image " + rows["image_id"]
    for kind, known in (("lesion", rows["lesion_id"]), ("patient", rows["patient_id"]), ("group", given)):
        groups = (f"{kind} " + known).where(known != "", groups)
    return groups


def _index(folder: Path, places: Iterable[str]) -> dict[str, list[str]]:
    """Map what a table may call an image (path or name, with or without ending) to paths below `folder`."""
    index: dict[str, list[str]] = defaultdict(list)
    for place in places:
        for file in image_files(folder / place):
            path = file.relative_to(folder).as_posix()
            below = file.relative_to(folder / place).as_posix()
            for name in {path, below, file.name} | {without_suffix(n) for n in (path, below, file.name)}:
                index[name].append(path)
    return index
