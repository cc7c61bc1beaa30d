"""Tables as CSV that a spreadsheet opens without running what stands in a cell: one that would be a formula gets a '.

A label or an id may begin with "=", which a spreadsheet takes for a formula, as it does "+", "-", "@" and a tab (OWASP,
CSV injection). The mark is taken off again where this program reads its own tables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # after such a mark too, so that taking one off gives what was there
_MARK = "'"


def neutral(cell: str) -> str:
    """The cell's text, with a mark before it if a spreadsheet would run it; numbers stay."""
    return _MARK + cell if _FORMULA.match(cell) and not _is_number(cell) else cell


def neutral_value(value: object) -> object:
    """A cell of any type: text is neutral, everything else as it is."""
    return neutral(value) if isinstance(value, str) else value


def plain(cell: str) -> str:
    """The text that `neutral` was given."""
    bare = cell.removeprefix(_MARK)
    return bare if bare != cell and neutral(bare) == cell else cell


def csv_text(table: pd.DataFrame, cell: Callable[[object], str] | None = None) -> str:
    """The table as CSV without its index; `cell` writes a number."""
    safe = table.rename(columns=lambda name: neutral(str(name)))
    for position, kind in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(position, [neutral_value(one) for one in safe.iloc[:, position]])
    return safe.to_csv(index=False, float_format=cell, lineterminator="\n")


def plain_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table of text that was read, with all marks taken off."""
    bare: pd.DataFrame = table.rename(columns=lambda name: plain(str(name))).map(plain)
    return bare


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
