"""A table beside a folder of images: read as text, joined, checked, and every image found.

Each fault names file, row (as a spreadsheet counts, the header being 1) and mend. By default the first
is raised; with an `on_fault` that returns, each function tells all of them and goes on without their rows.
"""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import DataError, Fault, OnFault, refuse
from data.files.archives import image_files, open_file, same_bytes, without_suffix
from data.manifest import COLUMNS, PART, numbered_table

UNKNOWN = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "not recorded", "null", "unknown"})  # in lower case

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Columns:
    """What a table's columns are called."""

    image: str = "image_id"  # file name or path below the folder, with or without its ending
    label: str | tuple[str, ...] = "label"  # or several, of which the first that is there and filled in counts
    one_hot: tuple[str, ...] = ()  # one column a label, one of them 1 and the others 0, instead of `label`
    lesion: str | None = None  # None = lesion_id, if there is such a column
    patient: str | None = None  # None = patient_id, if there is such a column
    group: str | None = None  # anything else whose images must stay on one side of a split


def read_rows(path: Path, further: Sequence[Path], columns: Columns, on_fault: OnFault = refuse) -> pd.DataFrame:
    """Read a row an image: the manifest's columns but root and path, `file` as written, then all others.

    The index is the row's number in the table.
    """
    given = _stripped(path, [columns.image], on_fault)
    for other in further:
        given = _joined(path, given, other, columns.image, on_fault)
    if given.empty:
        raise DataError(f"{path}: has no rows; give a table with a row an image")
    asked = (columns.lesion, columns.patient, columns.group)
    label = _label_columns(given, columns.label)
    _need(path, given, [*(columns.one_hot or label), *filter(None, asked)])
    labels = _one_hot(path, given, columns.one_hot, on_fault) if columns.one_hot else _first_known(given, label)
    given = given.loc[labels.index]
    rows = pd.DataFrame({"file": given[columns.image], "image_id": given[columns.image].map(without_suffix)})
    rows["label"] = labels
    rows["lesion_id"] = _column(given, columns.lesion, "lesion_id")
    rows["patient_id"] = _column(given, columns.patient, "patient_id")
    rows["group_id"] = _groups(path, rows, _column(given, columns.group, ""))
    rows["source"], rows["lineage"] = "real", ""
    read = {columns.image, columns.label, columns.group, *columns.one_hot}
    read |= {columns.lesion or "lesion_id", columns.patient or "patient_id"}
    others = [name for name in given.columns if name not in read]
    names = {name: f"table_{name}" if name in {*COLUMNS, PART, "file"} else name for name in others}
    return rows.join(given[others].rename(columns=names))


def check_rows(path: Path, rows: pd.DataFrame, on_fault: OnFault = refuse) -> pd.DataFrame:
    """Refuse repeated images, empty or half-equal labels, and a lesion with two labels; give the rows of use."""
    for name in ("image_id", "label"):
        empty = (f"row {number} has no {name}" for number in rows.index[rows[name] == ""])
        _tell(on_fault, path, empty, "fill it in or remove the row")
    named = rows[(rows["image_id"] != "") & (rows["label"] != "")]
    _tell(on_fault, path, _repeated_images(named), "remove one")
    _tell(on_fault, path, _half_equal(named["label"]), "`rename` one")
    _tell(on_fault, path, _lesions_with_two_labels(named), "give it one label, or each its own lesion")
    return named[~named["image_id"].duplicated()]


def find_images(
    path: Path, rows: pd.DataFrame, folder: Path, places: Iterable[str], on_fault: OnFault = refuse
) -> pd.Series[str]:
    """Find each row's image in these folders below `folder`; paths come back relative to that, by row number."""
    images = _index(folder, places)
    found, missing, unclear = {}, [], []
    for number, name in rows["file"].items():
        candidates = images.get(name.replace("\\", "/"), [])
        if not candidates:
            missing.append(f"row {number}: no image {name!r} below {folder}")
        elif any(not same_bytes(folder / candidates[0], folder / other) for other in candidates[1:]):
            unclear.append(f"row {number}: {name!r} may be {candidates[0]} or {candidates[1]}")
        else:
            found[number] = candidates[0]
    paths = pd.Series(found, dtype=str)
    twice = (f"rows {one} and {other} mean the same file {file}" for file, one, other in _repeated(paths))
    for cases, mend in ((unclear, "write its path"), (missing, "add it or remove the row"), (twice, "remove one")):
        _tell(on_fault, path, cases, mend)
    return paths[~paths.duplicated()]


def less(where: object, rows: pd.DataFrame, images: Sequence[str], on_fault: OnFault = refuse) -> pd.DataFrame:
    """Leave out these images."""
    unknown = sorted(set(images) - set(rows["image_id"]))
    _tell(on_fault, where, (f"has no image {image!r}" for image in unknown), "take it out of `leave_out`")
    return rows[~rows["image_id"].isin(images)]


def header_of(path: Path) -> list[str]:
    """Tell a table's columns. Raises DataError."""
    return list(_stripped(path, [], lambda _: None).columns)


def _repeated_images(rows: pd.DataFrame) -> Iterator[str]:
    for image, one, other in _repeated(rows["image_id"]):
        label, another = rows["label"][one], rows["label"][other]
        labels = "" if label == another else f" as {label!r} and {another!r}"
        yield f"rows {one} and {other} both are image {image!r}{labels}"


def _half_equal(labels: pd.Series[str]) -> Iterator[str]:
    folded = defaultdict(set)
    for label in set(labels):
        folded[label.casefold()].add(label)
    for _, alike in sorted(folded.items()):
        if len(alike) > 1:
            yield f"the labels {' and '.join(sorted(alike))} differ in case alone"


def _lesions_with_two_labels(rows: pd.DataFrame) -> Iterator[str]:
    known = rows[rows["lesion_id"] != ""]
    for lesion, same in known[known.groupby("lesion_id")["label"].transform("nunique") > 1].groupby("lesion_id"):
        one, other = same.drop_duplicates("label").index[:2]
        yield f"lesion {lesion!r} is {same['label'][one]!r} in row {one} and {same['label'][other]!r} in row {other}"


def _repeated(values: pd.Series[str]) -> Iterator[tuple[str, int, int]]:
    """Give each value that stands again, with the row where it stood first and the row where it stands again."""
    for value, same in values[values.duplicated(keep=False)].groupby(values):
        first, *others = same.index
        yield from ((str(value), first, other) for other in others)


def _tell(on_fault: OnFault, where: object, cases: Iterable[str], mend: str) -> None:
    found = tuple(cases)
    if found:
        on_fault(Fault(str(where), found, mend))


def _stripped(path: Path, needed: Sequence[str], on_fault: OnFault) -> pd.DataFrame:
    """Read a table, its separator told from its header."""
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig") as file:
            header = file.readline()
    except (OSError, UnicodeDecodeError) as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault}); give a CSV file in UTF-8") from fault
    table = numbered_table(path, max(",\t;", key=header.count), on_fault)
    table.columns = table.columns.str.strip()
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"{path}: the column {twice!r} stands twice, but for blanks; rename one")
    _need(path, table, needed)
    stripped: pd.DataFrame = table.apply(lambda column: column.str.strip())
    return stripped


def _joined(path: Path, given: pd.DataFrame, other: Path, image: str, on_fault: OnFault) -> pd.DataFrame:
    more = _stripped(other, [image], on_fault)
    repeated = more[image].duplicated()
    again = (f"row {number} repeats image {name!r}" for number, name in more.loc[repeated, image].items())
    _tell(on_fault, other, again, "remove it")
    lacking = given.loc[~given[image].isin(set(more[image])), image]
    cases = (f"has no row for image {name!r} of {path.name}, row {number}" for number, name in lacking.items())
    _tell(on_fault, other, cases, "add it")
    new = more[~repeated].set_index(image)[[name for name in more.columns if name not in given.columns]]
    return given.join(new, on=image).fillna("")


def _need(path: Path, table: pd.DataFrame, needed: Sequence[str]) -> None:
    lacking = [repr(name) for name in needed if name not in table.columns]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(lacking)}; it has {', '.join(table.columns)}: name one under `columns`"
        )


def _label_columns(table: pd.DataFrame, asked: str | tuple[str, ...]) -> list[str]:
    """Tell which of the columns that may hold the label are there; the first asked for where none is."""
    names = [asked] if isinstance(asked, str) else list(asked)
    return [name for name in names if name in table.columns] or names[:1]


def _first_known(table: pd.DataFrame, names: Sequence[str]) -> pd.Series[str]:
    """Take each row's first text that is not empty."""
    found = table[names[0]]
    for name in names[1:]:
        found = found.where(found != "", table[name])
    return found


def _column(table: pd.DataFrame, name: str | None, standard: str = "") -> pd.Series[str]:
    """Take the named column; with no name the standard one, or empty text where there is none."""
    if name is None and standard not in table.columns:
        return pd.Series("", index=table.index, dtype=str)
    return table[standard if name is None else name]


def _one_hot(path: Path, given: pd.DataFrame, labels: Sequence[str], on_fault: OnFault) -> pd.Series[str]:
    chosen = given[list(labels)]
    numbers = chosen.apply(pd.to_numeric, errors="coerce")
    wrong = (numbers.sum(axis=1) != 1) | ~numbers.isin([0, 1]).all(axis=1)
    cases = (
        f"row {number} has {', '.join(chosen.loc[number])} for {', '.join(labels)}" for number in wrong.index[wrong]
    )
    _tell(on_fault, path, cases, "one must be 1")
    numbers = numbers[~wrong]
    empty = (f"the label {label!r} has no images" for label in numbers.columns[numbers.sum() == 0])
    _tell(on_fault, path, empty, "take it out of `one_hot`")
    named: pd.Series[str] = numbers.idxmax(axis=1)
    return named


def _groups(path: Path, rows: pd.DataFrame, given: pd.Series[str]) -> pd.Series[str]:
    """Name each image's group by the first of group, patient, lesion and image that is known."""
    if not (given.any() or rows["patient_id"].any() or rows["lesion_id"].any()):
        log.warning(
            "%s: no group, patient or lesion is known, so photographs of one lesion can come to stand on both sides of "
            "the split, unless they are nearly the same; name the column that tells under `columns`: lesion, patient "
            "or group",
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
