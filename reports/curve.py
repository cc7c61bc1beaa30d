"""Balanced accuracy over photographs of a rare class, and the places of other arms on that curve, as inline SVG."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from reports.figures import SHAPES, Axis, Glyph, axis_round, join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.schema import Curve, Score, Worth

_HEIGHT = 200  # pixels


def photograph_curve(curve: Curve, scores: Mapping[str, Score], glyphs: Mapping[str, Glyph]) -> Markup:
    """Balanced accuracy over photographs of a rare class (log2): real arms, the rising curve, and arms placed on it."""
    worths = {each.arm: each for each in curve.worths}
    shown = [scores[arm] for arm in (*curve.photographs, *worths)]
    side = axis_round([value for score in shown for value in (score.low, score.mean, score.high)], whole=(0.0, 1.0))
    numbers = [*curve.photographs.values(), *(each.photographs for each in worths.values())]
    low, high = (math.log2(max(number, 0.5)) for number in (min(numbers), max(numbers)))
    below = Axis(low - 0.25, high + 0.25, tuple(sorted({math.log2(n) for n in curve.photographs.values() if n > 0})))
    parts = [_level(side, tick) for tick in side.ticks]
    parts += [_below(below, tick) for tick in below.ticks]
    points = [(below.place(math.log2(curve.photographs[arm])), _height(side, risen)) for arm, risen in
              curve.risen.items() if curve.photographs[arm] > 0]  # fmt: skip
    parts += [
        Markup('<line class="risen" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>').format(*one, *other)
        for one, other in pairwise(points)
    ]
    for each in worths.values():
        parts += _placed(below, side, each, scores[each.arm])
    photographs = curve.photographs | {arm: each.photographs for arm, each in worths.items()}
    parts += [
        _point(below.place(math.log2(number)), side, scores[arm], glyphs[arm])
        for arm, number in photographs.items()
        if number > 0
    ]
    title = "Balanced accuracy by photographs of a rare class: " + ", ".join(
        f"{arm} {scores[arm].mean or 0:.3f} with {number:.0f}" for arm, number in photographs.items()
    )
    return Markup(
        '<svg class="photographs" width="100%" height="{}" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(_HEIGHT + 26, title, title, join(parts))


def _height(side: Axis, value: float) -> float:
    """Pixels from the top."""
    return 8 + (_HEIGHT - 16) * (1 - (value - side.low) / (side.high - side.low))


def _level(side: Axis, tick: float) -> Markup:
    y = _height(side, tick)
    return Markup(
        '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/><text x="0" y="{1:.1f}">{2:g}</text>'
    ).format(y, y - 3, tick)


def _below(below: Axis, tick: float) -> Markup:
    return Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{:.0f}</text>').format(
        below.place(tick), _HEIGHT + 18, 2**tick
    )


def _placed(below: Axis, side: Axis, each: Worth, score: Score) -> list[Markup]:
    """A dotted way from the arm's mark to its place on the curve and down to its number."""
    if each.place.value is None or score.mean is None or each.photographs <= 0:
        return []
    x, own = below.place(math.log2(each.place.value)), below.place(math.log2(each.photographs))
    y = _height(side, score.mean)
    line = Markup('<line class="smallest" x1="{:.2f}%" x2="{:.2f}%" y1="{:.1f}" y2="{:.1f}"/>')
    number = Markup('<text class="placed" x="{:.2f}%" y="{}" text-anchor="middle">{:.0f}</text>')
    return [
        line.format(own, x, y, y),
        line.format(x, x, y, _HEIGHT),
        number.format(x, _HEIGHT + 4, each.place.value),
    ]


def _point(x: float, side: Axis, score: Score, glyph: Glyph) -> Markup:
    """An arm's mark with its interval."""
    if score.mean is None or score.low is None or score.high is None:
        return Markup("")
    return Markup(
        '<g class="{}"><line class="interval" x1="{:.2f}%" x2="{:.2f}%" y1="{:.1f}" y2="{:.1f}"/>'
        '<svg x="{:.2f}%" y="{:.1f}" overflow="visible" width="1" height="1"><g class="mark">{}</g></svg></g>'
    ).format(
        glyph.tone, x, x, _height(side, score.low), _height(side, score.high), x, _height(side, score.mean),
        SHAPES[glyph.shape],
    )  # fmt: skip
