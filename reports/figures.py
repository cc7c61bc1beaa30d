"""Figures as inline SVG. Positions are percentages and text keeps its size, so a figure fits a phone and a page.

Arms differ by shape as well as by colour; the random split's figure is a cross. The shape is the arm's
`mark`, colours come from the page's style.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from classify.arms import Arm, Mark
    from reports.schema import Difference, Interval

_EDGE = 3.0  # percent left free on both sides, so that marks at the ends are not cut
_NESTED_WIDTHS = (9, 5.5)  # of the shortest bar and the next
SHAPES: dict[Mark, Markup] = {
    "circle": Markup('<circle r="5.5"/>'),
    "square": Markup('<rect x="-5" y="-5" width="10" height="10"/>'),
    "diamond": Markup('<path d="M0-7.2 7.2 0 0 7.2-7.2 0Z"/>'),
    "cross": Markup('<path d="M-6-3.5-3.5-6 0-2.5 3.5-6 6-3.5 2.5 0 6 3.5 3.5 6 0 2.5-3.5 6-6 3.5-2.5 0Z"/>'),
    "triangle": Markup('<path d="M0-6.5 6.4 5H-6.4Z"/>'),
    "wedge": Markup('<path d="M0 6.5 6.4-5H-6.4Z"/>'),
    "plus": Markup('<path d="M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z"/>'),
    "pentagon": Markup('<path d="M0-6.8 6.5-2.1 4 5.5H-4L-6.5-2.1Z"/>'),
    "star": Markup('<path d="M0-7.5 2.1-2.3 7.6-2.3 3.2 1 4.7 6.4 0 3.2-4.7 6.4-3.2 1-7.6-2.3-2.1-2.3Z"/>'),
    "pointer": Markup('<path d="M-5-6.4 6.5 0-5 6.4Z"/>'),
    "hourglass": Markup('<path d="M-6-6.5H6L1.2 0 6 6.5H-6L-1.2 0Z"/>'),
    "bowtie": Markup('<path d="M-6.5-6V6L0 1.2 6.5 6V-6L0-1.2Z"/>'),
    "hexagon": Markup('<path d="M0-7.2 6.2-3.6V3.6L0 7.2-6.2 3.6V-3.6Z"/>'),
}


@dataclass(frozen=True)
class Glyph:
    """How something is drawn: its shape, and the style sheet's class with its colour."""

    shape: Mark
    tone: str


VOID = Glyph("cross", "tone-random-split")


def glyph_of(arm: Arm) -> Glyph:
    """The mark of an arm; arms of one kind share a colour."""
    return Glyph(arm.mark, f"tone-{arm.tone}")


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers and the ticks on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Percent of the figure's width."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _EDGE + (100 - 2 * _EDGE) * share


def axis_round(values: Iterable[float | None], *, whole: tuple[float, float] | None = None, zero: bool = False) -> Axis:
    """An axis with round ticks over the values; `zero`: with zero on it; `whole`: no further than these bounds."""
    defined = [value for value in values if value is not None] or [0.0, 1.0]
    low, high = min(defined), max(defined)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = max(0.08 * (high - low), 0.005)
    low, high = low - margin, high + margin
    step = _round_step((high - low) / 5)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if whole:
        low, high = max(low, whole[0]), min(high, whole[1])
    n = round((high - low) / step)
    return Axis(low, high, tuple(round(low + i * step, 10) for i in range(n + 1)))


UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def key(glyph: Glyph) -> Markup:
    """The mark, for legends and table rows."""
    return Markup(
        '<svg class="key {}" width="14" height="14" viewBox="-8 -8 16 16" aria-hidden="true">'
        '<g class="mark">{}</g></svg>'
    ).format(glyph.tone, SHAPES[glyph.shape])


def axis_labels(axis: Axis, written: Sequence[str]) -> Markup:
    """The tick labels, for a place above or below the strips of the same axis."""
    texts = [
        Markup('<text x="{:.2f}%" y="11" text-anchor="middle">{}</text>').format(axis.place(tick), text)
        for tick, text in zip(axis.ticks, written, strict=True)
    ]
    return Markup('<svg class="ticks" width="100%" height="14" aria-hidden="true">{}</svg>').format(join(texts))


def strip(
    axis: Axis, glyph: Glyph, interval: Interval, title: str, *, seeds: Iterable[float | None] = (),
    reference: float | None = None, nested: Sequence[tuple[float, float]] = (), smallest: float | None = None,
) -> Markup:  # fmt: skip
    """One row of a dot plot: interval, mean as the shape, a short stroke a seed; `reference` is a bold line.

    `nested` are shorter bars upon the interval, the shortest first; `smallest` is marked on both sides of zero.
    """
    middle = 15
    parts = [
        Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="-120" y2="150"/>').format(axis.place(tick))
        for tick in axis.ticks
    ]
    if reference is not None:
        x = axis.place(reference)
        parts.append(Markup('<line class="reference" x1="{0:.2f}%" x2="{0:.2f}%" y1="-120" y2="150"/>').format(x))
    if interval.low is not None and interval.high is not None:
        parts.append(_bar(axis.place(interval.low), axis.place(interval.high), middle))
    for rank, (low, high) in enumerate(nested):
        parts.append(
            Markup('<line class="nested" stroke-width="{}" x1="{:.2f}%" x2="{:.2f}%" y1="{}" y2="{}"/>').format(
                _NESTED_WIDTHS[min(rank, 1)], axis.place(low), axis.place(high), middle, middle
            )
        )
    parts += [
        Markup('<line class="smallest" x1="{0:.2f}%" x2="{0:.2f}%" y1="3" y2="27"/>').format(axis.place(value))
        for value in (() if smallest is None else (-smallest, smallest))
        if axis.low <= value <= axis.high
    ]
    parts += [
        Markup('<line class="seed" x1="{0:.2f}%" x2="{0:.2f}%" y1="23" y2="29"/>').format(axis.place(value))
        for value in seeds
        if value is not None
    ]
    if interval.mean is not None:
        parts.append(
            Markup(
                '<svg x="{:.2f}%" y="{}" overflow="visible" width="1" height="1"><g class="mark">{}</g></svg>'
            ).format(axis.place(interval.mean), middle, SHAPES[glyph.shape])
        )
    return Markup(
        '<svg class="strip {}" width="100%" height="30" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(glyph.tone, title, title, join(parts))


def nested(difference: Difference) -> list[tuple[float, float]]:
    """Intervals of the variance's first part, of the first two, and so on, without the whole; the shortest first."""
    if difference.mean is None or difference.low is None or difference.high is None:
        return []
    bars, share = [], 0.0
    for part in difference.parts[:-1]:
        share += part.share
        below, above = (
            math.sqrt(share) * half for half in (difference.mean - difference.low, difference.high - difference.mean)
        )
        bars.append((difference.mean - below, difference.mean + above))
    return bars


def nested_key() -> Markup:
    """A nested bar for the legend."""
    return Markup(
        '<svg class="key nested-key" width="64" height="14" viewBox="-32 -7 64 14" aria-hidden="true">'
        '<line class="interval" x1="-30" x2="30" y1="0" y2="0"/>'
        '<line class="nested" stroke-width="5.5" x1="-21" x2="21" y1="0" y2="0"/>'
        '<line class="nested" stroke-width="9" x1="-11" x2="11" y1="0" y2="0"/></svg>'
    )


def loss_curve(losses: Sequence[tuple[int, float]], title: str, held_out: Sequence[tuple[int, float]] = ()) -> Markup:
    """Loss by step: the record in a light line, its running mean over it, and a dashed line of the held-out losses."""
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if len(finite) < 2:  # noqa: PLR2004 - a line has two ends
        return Markup("")
    first, last = finite[0][0], finite[-1][0]
    top = max(loss for _, loss in (*finite, *held_out)) * 1.05 or 1.0

    def line(points: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{300 * (s - first) / (last - first):.1f},{80 - 80 * max(v, 0) / top:.1f}" for s, v in points)

    beside = Markup('<polyline class="held-out" points="{}"/>').format(line(held_out)) if held_out[1:] else ""
    return Markup(
        '<svg class="loss" viewBox="0 0 300 80" preserveAspectRatio="none" role="img" aria-label="{}"><title>{}</title>'
        '<line class="grid" x1="0" x2="300" y1="80" y2="80"/><polyline class="raw" points="{}"/>'
        '<polyline class="mean" points="{}"/>{}</svg>'
    ).format(title, title, line(finite), line(_running_mean(finite)), beside)


def _running_mean(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    half = max(1, len(points) // 12)
    means = []
    for i, (step, _) in enumerate(points):
        near = [loss for _, loss in points[max(0, i - half) : i + half + 1]]
        means.append((step, sum(near) / len(near)))
    return means


def _bar(start: float, end: float, y: int) -> Markup:
    caps = [
        Markup('<line class="cap" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>').format(x, y - 4, y + 4)
        for x in (start, end)
    ]
    bar = Markup('<line class="interval" x1="{0:.2f}%" x2="{1:.2f}%" y1="{2}" y2="{2}"/>')
    return bar.format(start, end, y) + join(caps)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= rough * 0.999)


def join(parts: Iterable[Markup]) -> Markup:
    """The parts as one."""
    return Markup("").join(parts)
