"""Ages as tables and archives write them, in years."""

from __future__ import annotations

import re

_OLDEST = 130.0  # years; more is a fault of the table
_NUMBER = r"(\d+(?:[.,]\d+)?)"
_PLAIN = re.compile(
    rf"{_NUMBER}(?:e[+]?0)?\s*(y|yr|yrs|year|years|m|mo|month|months|w|week|weeks|d|day|days)?\.?(?: old)?"
)
_LEAST = re.compile(rf"(?:>=?|≥|over )\s*{_NUMBER}|{_NUMBER}\s*(?:\+|or (?:more|older|over))")
_MOST = re.compile(rf"(?:<=?|≤|under )\s*{_NUMBER}")
_RANGE = re.compile(rf"[\[(]?\s*{_NUMBER}\s*(?:-|–|—|to|,\s)\s*{_NUMBER}\s*[\])]?")
_PER_YEAR = {"y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}  # by the unit's first letter


def years_of(text: str) -> float | None:
    """The age; the middle of a range, the limit of `85+`, half the limit of `<1`. None for what is no age.

    DICOM's `058Y` and `006M`, decimal commas and units in words are read.
    """
    written = " ".join(text.lower().split())
    if found := _PLAIN.fullmatch(written):
        years = _number(found[1]) / _PER_YEAR[(found[2] or "y")[0]]
    elif found := _LEAST.fullmatch(written):
        years = _number(found[1] or found[2])
    elif found := _MOST.fullmatch(written):
        years = _number(found[1]) / 2
    elif (found := _RANGE.fullmatch(written)) and _number(found[1]) <= _number(found[2]):
        years = (_number(found[1]) + _number(found[2])) / 2
    else:
        return None
    return years if years <= _OLDEST else None


def _number(text: str) -> float:
    return float(text.replace(",", "."))
