"""Numbers must be written as what they are."""

from __future__ import annotations

import pytest

from reports import numbers
from reports.schema import Interval


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0216, "+2.2"), (-0.01, "−1.0"), (0.0, "0.0"), (-0.0001, "0.0"), (0.0004, "0.0"), (None, "–")],
)
def test_points_carry_their_sign_unless_they_round_to_zero(value, written):
    assert numbers.points(value) == written


def test_ticks_have_no_more_decimals_than_they_need():
    assert [numbers.whole_points(v) for v in (-0.05, 0.0, 0.025)] == ["−5", "0", "+2.5"]


def test_an_undefined_interval_is_left_out():
    assert numbers.point_interval(Interval(mean=None, low=None, high=None)) == ""


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.04, "0.0 s"), (9.2, "9.2 s"), (42, "42 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations_read_as_a_person_says_them(seconds, written):
    assert numbers.duration(seconds) == written


def test_an_interval_is_not_broken_over_two_lines():
    text = numbers.unbroken("difference +2.2 points [−1.0, +5.4] (95 %) or so")
    nbsp = "\N{NO-BREAK SPACE}"
    assert text == f"difference +2.2{nbsp}points [−1.0,{nbsp}+5.4]{nbsp}(95{nbsp}%) or so"


def test_names_are_listed_as_in_a_sentence():
    assert [numbers.listing(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


@pytest.mark.parametrize(
    ("n", "is_complete", "written"), [(8, True, "8"), (8, False, "8 + ?"), (0, False, "?"), (0, True, "0")]
)
def test_a_number_of_groups_is_marked_where_there_may_be_more(n, is_complete, written):
    assert numbers.group_count(n, is_complete) == written


@pytest.mark.parametrize(("value", "expected"), [(0.104, "+10"), (-0.004, "0"), (-0.336, "−34"), (None, "–")])
def test_a_difference_is_said_of_a_hundred(value, expected):
    assert numbers.per_hundred(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.0004, "< 0.001"), (0.0312, "0.031"), (0.452, "0.45"), (None, "–")])
def test_a_p_value_has_no_more_digits_than_are_read(value, expected):
    assert numbers.p_value(value) == expected
