"""Numbers, units and lists as the report writes them; an undefined figure is a dash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.schema import Interval

MINUS = "\N{MINUS SIGN}"
UNDEFINED = "–"


def share(value: float | None) -> str:
    """A figure between 0 and 1, e.g. 0.612."""
    return UNDEFINED if value is None else f"{value:.3f}"


def hundredths(value: float | None) -> str:
    """A figure between 0 and 1 that rests on a few dozen images, e.g. 0.61."""
    return UNDEFINED if value is None else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A share in percent, e.g. 5.2 %."""
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    """A difference in percentage points with its sign, e.g. +2.2."""
    if value is None:
        return UNDEFINED
    return _signed(f"{abs(100 * value):.1f}", value)


def whole_points(value: float) -> str:
    """A tick in points, with no more decimals than it needs, e.g. +5."""
    return _signed(f"{abs(100 * value):g}", value)


def point_interval(difference: Interval) -> str:
    """A difference's interval in points, e.g. [-1.0, +5.4]; empty where there is none."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{points(difference.low)}, {points(difference.high)}]"


def change(value: float | None) -> str:
    """A difference between two figures that are no shares, with its sign, e.g. +0.012."""
    if value is None:
        return UNDEFINED
    return _signed(f"{abs(value):.3f}", value)


def change_interval(difference: Interval) -> str:
    """Its interval, e.g. [-0.010, +0.034]; empty where there is none."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{change(difference.low)}, {change(difference.high)}]"


def interval(score: Interval, decimals: int = 3) -> str:
    """A score's interval, e.g. [0.58, 0.64]; empty where it has none."""
    if score.low is None or score.high is None:
        return ""
    return f"[{score.low:.{decimals}f}, {score.high:.{decimals}f}]"


def per_hundred(value: float | None) -> str:
    """A difference of shares as whole ones of a hundred with its sign, e.g. +8."""
    if value is None:
        return UNDEFINED
    return _signed(f"{abs(100 * value):.0f}", value)


def hundred_interval(difference: Interval) -> str:
    """Its interval, e.g. [-1, +9]; empty where there is none."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{per_hundred(difference.low)}, {per_hundred(difference.high)}]"


def smallest_effect(value: float | None) -> str:
    """The smallest effect that a study could see, in points, e.g. 6.2 or 21."""
    if value is None:
        return UNDEFINED
    points = 100 * value
    return f"{points:.0f}" if points >= 9.95 else f"{points:.1f}"  # noqa: PLR2004 - tenths while they matter


def p_value(value: float | None) -> str:
    """A p value, e.g. 0.03 or < 0.001."""
    if value is None:
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"  # noqa: PLR2004 - decimals


def duration(seconds: float) -> str:
    """Seconds in a reader's units, e.g. 6 min 12 s."""
    if seconds < 9.95:  # noqa: PLR2004 - tenths while they show
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(number: int, noun: str) -> str:
    """A number with its noun, e.g. 1,074 images."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def group_count(n: int, is_complete: bool) -> str:
    """A number of leakage groups, with a question mark where there may be more, e.g. 8 + ?."""
    return f"{n:,}" if is_complete else f"{n:,} + ?" if n else "?"


def listing(names: tuple[str, ...]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def unbroken(text: str) -> str:
    """The text with every interval, and every number and its unit, kept on one line."""
    return re.sub(r" (?=[^\[]*\])|(?<=\d) (?=points|%|→)|(?<=→) |(?<=\]) (?=\()", "\N{NO-BREAK SPACE}", text)


def _signed(text: str, value: float) -> str:
    """The digits of a value's size with its sign; none where they are all zero."""
    return text if not float(text) else ("+" if value > 0 else MINUS) + text
