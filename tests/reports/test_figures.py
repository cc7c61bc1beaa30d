"""Marks must stand where the numbers are, and each figure must say in words what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from classify.arms import ARMS, arm_of, external_arm
from reports import figures
from reports.figures import UNIT, VOID, Axis
from reports.schema import Interval


def _parsed(markup):
    return ET.fromstring(markup)  # noqa: S314 - our own


def _strip(**changes):
    values = {"mean": 0.5, "low": 0.25, "high": 0.75, "seeds": [0.4, 0.6], "title": "Recall"} | changes
    interval = Interval(**{name: values.pop(name) for name in ("mean", "low", "high")})
    return _parsed(figures.strip(UNIT, figures.glyph_of(ARMS["real"]), interval, **values))


def _x(element, name="x1"):
    return float(element.get(name).removesuffix("%"))


def test_a_value_stands_at_its_share_of_the_axis():
    axis = Axis(-0.1, 0.3, ())
    assert axis.place(0.1) == pytest.approx(50)
    assert axis.place(0.0) - axis.place(-0.1) == pytest.approx(axis.place(0.3) - axis.place(0.2))
    assert 0 < axis.place(-5) < axis.place(5) < 100  # never off the figure


def test_a_strip_draws_interval_mean_and_seeds_in_their_places():
    svg = _strip()
    (bar,) = [e for e in svg if e.get("class") == "interval"]
    assert (_x(bar), _x(bar, "x2")) == (pytest.approx(UNIT.place(0.25)), pytest.approx(UNIT.place(0.75)))
    (mark,) = svg.findall("svg")
    assert _x(mark, "x") == pytest.approx(UNIT.place(0.5))
    assert [_x(e) for e in svg if e.get("class") == "seed"] == [UNIT.place(0.4), UNIT.place(0.6)]


def test_what_is_undefined_is_not_drawn():
    svg = _strip(mean=None, low=None, high=None, seeds=[None, 0.6])
    assert not svg.findall("svg")
    assert [e.get("class") for e in svg if e.get("class") in {"interval", "cap"}] == []
    assert len([e for e in svg if e.get("class") == "seed"]) == 1


def test_zero_is_drawn_where_it_is_asked_for():
    assert [_x(e) for e in _strip(reference=0.0) if e.get("class") == "reference"] == [UNIT.place(0.0)]
    assert not [e for e in _strip() if e.get("class") == "reference"]


def test_a_strip_says_in_words_what_it_shows_and_escapes_it():
    svg = _strip(title='<b> & "q"')
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == svg.findtext("title") == '<b> & "q"'


def test_each_arm_has_a_shape_of_its_own():
    glyphs = [*map(figures.glyph_of, (*ARMS.values(), external_arm("theirs"))), VOID]
    assert len({glyph.shape for glyph in glyphs}) == len(glyphs)
    assert len({re.sub('class="[^"]*"', "", figures.key(glyph)) for glyph in glyphs}) == len(glyphs)


def test_an_arm_with_a_number_is_drawn_as_the_arm_of_its_kind():
    assert figures.glyph_of(arm_of("real@32")) == figures.glyph_of(ARMS["real"])
    assert figures.glyph_of(arm_of("synthetic@2x")) == figures.glyph_of(ARMS["synthetic"])


def test_arms_of_each_kind_have_a_colour_of_their_own_in_light_and_dark():
    style = (Path(figures.__file__).parent / "report.css").read_text(encoding="utf-8")
    tones = {arm.tone for arm in ARMS.values()}
    assert tones == {"real", "oversampled", "autoencoded", "synthetic"}
    for tone in tones:
        assert figures.glyph_of(ARMS[tone]).tone == f"tone-{tone}"  # each kind is called after an arm of it
        assert f".tone-{tone} {{ --tone: var(--{tone}); }}" in style
        light, dark = re.findall(rf"--{tone}: (#[0-9a-f]{{6}});", style)
        assert light != dark
    assert figures.glyph_of(external_arm("a b<c>")).tone == "tone-other"


@pytest.mark.parametrize("values", [(0.562, 0.703), (0.1, 0.1), (None, 0.4), (), (0.0, 1.0)])
def test_an_axis_holds_its_values_on_round_ticks(values):
    axis = figures.axis_round(values, whole=(0.0, 1.0))
    defined = [v for v in values if v is not None]
    assert all(axis.low <= v <= axis.high for v in defined)
    assert 0.0 <= axis.low < axis.high <= 1.0
    assert 2 <= len(axis.ticks) <= 9
    assert all(round(t, 3) == t for t in axis.ticks)
    assert axis.low <= axis.ticks[0] <= axis.ticks[-1] <= axis.high


@pytest.mark.parametrize("values", [(0.02, 0.05), (-0.05, -0.02), (-0.5, 0.4)])
def test_the_axis_of_a_difference_has_zero_on_it(values):
    axis = figures.axis_round(values, zero=True)
    assert 0.0 in axis.ticks
    assert axis.low < 0 < axis.high


def test_tick_labels_stand_at_their_ticks():
    svg = _parsed(figures.axis_labels(UNIT, ["0", ".25", ".5", ".75", "1"]))
    places = {e.text: float(e.get("x").removesuffix("%")) for e in svg}
    assert places == {label: UNIT.place(t) for label, t in zip(places, UNIT.ticks, strict=True)}


def test_a_loss_curve_runs_from_the_first_step_to_the_last():
    svg = _parsed(figures.loss_curve([(10, 1.0), (20, 0.5), (30, 0.25)], "Loss"))
    raw, mean = ([tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in svg.findall("polyline"))
    assert [x for x, _ in raw] == [x for x, _ in mean] == [0, 150, 300]
    assert raw[0][1] < raw[1][1] < raw[2][1]  # down the page as the loss falls


def test_a_loss_curve_of_one_point_is_none():
    assert figures.loss_curve([(1, 0.5)], "Loss") == ""
    assert figures.loss_curve([(1, 0.5), (2, float("nan"))], "Loss") == ""


def test_held_out_losses_stand_on_the_same_axes_as_the_loss():
    losses, held_out = [(10, 1.0), (20, 0.5), (30, 0.25)], [(20, 0.5), (30, 2.0)]
    svg = _parsed(figures.loss_curve(losses, "Loss", held_out))
    raw, _, beside = (
        [tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in svg.findall("polyline")
    )
    assert svg.findall("polyline")[2].get("class") == "held-out"
    assert beside[0] == raw[1]
    assert beside[1][0] == raw[2][0]
    assert 0 < beside[1][1] < raw[0][1], "the highest of all, within the figure"
    assert len(_parsed(figures.loss_curve(losses, "Loss", held_out[:1])).findall("polyline")) == 2
