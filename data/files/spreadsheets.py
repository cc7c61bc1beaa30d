"""A table of text as spreadsheets, statistics programs and archives save it.

Skipped are rows and columns that are wholly empty, columns without a name, comments (`# ...`), and what stands above
the header, such as a title or a legend. Excel's first line `sep=;` names the separator.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from data.errors import DataError, Fault, OnFault, refuse
from data.files.archives import open_file

SEPARATORS = ",\t;|"  # the first of those that divide a header into as many columns
_HEADER_ROWS = 100  # rows in which the header is looked for
_SEP = "sep="
_COMMENT = "#"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # what a spreadsheet's "Unicode text" begins with
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # of .xlsx and .ods, of .xls

log = logging.getLogger(__name__)


def read_spreadsheet(path: Path, needed: Sequence[str] = (), on_fault: OnFault = refuse) -> pd.DataFrame:
    """The table's cells as text without blanks around them; the index is the row's number in a spreadsheet.

    The header is the first row that holds the `needed` columns, or else the first that is neither empty nor a comment.
    Raises DataError; rows of another length than the header are given to `on_fault` and left out.
    """
    text = _text(path)
    first, _, rest = text.partition("\n")
    named = first.strip().lower().startswith(_SEP) and len(first.strip()) == len(_SEP) + 1
    rows = _rows(path, rest if named else text, first.strip()[-1] if named else _separator(text, needed))
    place = _header_row(rows, needed)
    if place is None:
        return pd.DataFrame()
    above = [number for number in range(1, place) if any(rows[number])]
    if above:
        log.warning("%s: rows above the header, which is row %d, are not read: %d", path, place, len(above))
    header = [cell.lstrip("# ") if n == 0 else cell for n, cell in enumerate(rows[place])]
    table = _table(path, header, {number: row for number, row in rows.items() if number > place}, on_fault)
    return _with_names(path, table)


def _text(path: Path) -> str:
    """The file as text. Raises DataError for what cannot be read, is a workbook or in another encoding."""
    try:
        with open_file(path) as file:
            data = file.read()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault}); give a CSV file in UTF-8") from fault
    if data.startswith(_WORKBOOKS):
        raise DataError(
            f"{path}: cannot be read as a table (it is a workbook); open it in its program, save the sheet as "
            "CSV UTF-8, and name that file"
        )
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise DataError(
            f"{path}: cannot be read as a table ({fault.reason} in line {line}); save it as CSV in UTF-8"
        ) from fault


def _separator(text: str, needed: Sequence[str]) -> str:
    """What divides the first line that holds the needed columns; else what the first line holds most of."""
    lines = [line for line in islice(io.StringIO(text, newline=None), _HEADER_ROWS) if line.strip()]
    for line in lines if needed else ():
        cells = {separator: _fields(line, separator) for separator in SEPARATORS}
        holding = [separator for separator in SEPARATORS if _holds(cells[separator], needed)]
        if holding:
            return max(holding, key=lambda separator: len(cells[separator]))
    header = next((line for line in lines if not line.startswith(_COMMENT)), "")
    return max(SEPARATORS, key=header.count)


def _fields(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _rows(path: Path, text: str, separator: str) -> dict[int, list[str]]:
    """All rows by their numbers, empty ones too. Raises DataError, which names the line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return {number: [cell.strip() for cell in row] for number, row in enumerate(reader, start=1)}
    except csv.Error as fault:
        raise DataError(
            f"{path}: cannot be read as a table ({fault}, line {reader.line_num}); save it as CSV in UTF-8"
        ) from fault


def _header_row(rows: Mapping[int, list[str]], needed: Sequence[str]) -> int | None:
    """The header's number; None for a table without any."""
    first = {number: row for number, row in islice(rows.items(), _HEADER_ROWS) if any(row)}
    holding = (number for number, row in first.items() if needed and _holds(row, needed))
    plain = (number for number, row in first.items() if not row[0].startswith(_COMMENT))
    return next(holding, next(plain, next(iter(first), None)))


def _holds(cells: Sequence[str], needed: Iterable[str]) -> bool:
    return set(needed) <= {*cells, *(cell.lstrip("# ") for cell in cells[:1])}


def _table(path: Path, header: list[str], rows: Mapping[int, list[str]], on_fault: OnFault) -> pd.DataFrame:
    """The rows of the header's length; further cells that are empty are cut off, comments and empty rows left out."""
    whole, torn, comments = dict[int, list[str]](), dict[int, int](), list[int]()
    width = len(header)
    for number, row in rows.items():
        if not any(row):
            continue
        if len(row) >= width and not any(row[width:]):
            whole[number] = row[:width]
        elif row[0].startswith(_COMMENT):
            comments.append(number)
        else:
            torn[number] = len(row)
    if comments:
        log.warning("%s: comments are not read: %d, first row %d", path, len(comments), comments[0])
    if torn:
        examples = (f"row {number} has {fields} fields, the header {width}" for number, fields in torn.items())
        on_fault(Fault(str(path), tuple(examples), "correct that row"))
    return pd.DataFrame(list(whole.values()), columns=header, index=list(whole), dtype=str)


def _with_names(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The columns that have a name. Raises DataError for a name that two have."""
    unnamed = [n + 1 for n, name in enumerate(table.columns) if not name and (table.iloc[:, n] != "").any()]
    if unnamed:
        log.warning("%s: columns without a name are not read: %s", path, ", ".join(map(str, unnamed)))
    named = table.loc[:, table.columns != ""]
    if named.columns.has_duplicates:
        twice = named.columns[named.columns.duplicated()][0]
        raise DataError(f"{path}: the column {twice!r} appears twice, apart from blanks; rename one")
    return named
