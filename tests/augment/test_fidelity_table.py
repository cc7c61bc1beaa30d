"""Rows of one table are comparable: as many images in each, the same real ones, and real against real beside them."""

import numpy as np
import pytest

from augment.fidelity import compare_distance, scale_of
from augment.fidelity_table import CONTROL, fidelity_table

RNG = np.random.default_rng(3)
WIDTH = 6


def normal(n, shift=0.0, scale=1.0):
    return RNG.normal(shift, scale, size=(n, WIDTH))


REAL = normal(40)
SETS = {"synthetic": normal(150, 0.8), "shots": normal(16), "collapsed": np.repeat(normal(1), 60, axis=0)}
TABLE = fidelity_table(REAL, SETS)


def test_the_rows_are_the_sets_and_then_the_real_images():
    assert list(TABLE.rows) == [*SETS, CONTROL]
    assert {name: row.images for name, row in TABLE.rows.items()} == {
        "synthetic": 150, "shots": 16, "collapsed": 60, CONTROL: 40
    }  # fmt: skip
    assert TABLE.drawn == (20, 8)


def test_the_distance_is_that_of_all_images_with_its_jackknife():
    scale = scale_of(REAL)
    figure = compare_distance(REAL / scale, SETS["synthetic"] / scale)
    found = TABLE.rows["synthetic"].figures["kernel_distance"]
    assert found.value == figure.value
    assert found.high - found.low == pytest.approx(2 * 1.96 * figure.error)


def test_real_images_are_no_distance_from_real_ones_and_others_are_outside_their_range():
    control = TABLE.rows[CONTROL].figures["kernel_distance"]
    assert control.low < 0 < control.high
    assert abs(control.value) < 0.1 * (control.high - control.low)
    assert TABLE.rows["synthetic"].figures["kernel_distance"].value > control.high
    shots = TABLE.rows["shots"].figures["kernel_distance"]
    assert shots.low < control.high


def test_a_set_of_real_images_has_the_shares_of_real_ones_however_many_it_has():
    """By halves of equal size 16 and 160 draws of one distribution look alike, which in whole sets they would not."""
    found = [fidelity_table(normal(40), {"few": normal(16), "many": normal(160)}, draws=50).rows for _ in range(12)]
    for share in ("precision", "recall", "density", "coverage"):
        means = [np.mean([rows[name].figures[share].value for rows in found]) for name in ("few", "many", CONTROL)]
        assert max(means) - min(means) < 0.12


def test_one_image_drawn_again_and_again_covers_little():
    rows = TABLE.rows
    assert rows["collapsed"].figures["recall"].value < 0.2 < rows[CONTROL].figures["recall"].value
    assert rows["collapsed"].figures["coverage"].value < rows[CONTROL].figures["coverage"].value


def test_shares_stay_within_their_bounds():
    for row in TABLE.rows.values():
        for name in ("precision", "recall", "coverage"):
            assert 0 <= row.figures[name].low <= row.figures[name].value <= row.figures[name].high <= 1


@pytest.mark.parametrize(
    ("real", "shots", "expected"),
    [
        (11, 16, {"synthetic": {"kernel_distance"}, "shots": {"kernel_distance"}, CONTROL: set()}),
        (5, 16, {"synthetic": set(), "shots": set(), CONTROL: set()}),
        (0, 16, {"synthetic": set(), "shots": set(), CONTROL: set()}),
        (40, 4, {"synthetic": {"kernel_distance", "recall"}, "shots": set(), CONTROL: {"kernel_distance", "recall"}}),
        (40, 7, {"synthetic": {"kernel_distance"}, "shots": {"kernel_distance"}, CONTROL: {"kernel_distance"}}),
    ],
)
def test_too_few_images_have_the_figures_that_they_allow(real, shots, expected):
    table = fidelity_table(normal(real), {"synthetic": normal(60), "shots": normal(shots)}, draws=10)
    found = {name: row.figures.keys() & {"kernel_distance", "recall"} for name, row in table.rows.items()}
    assert found == expected


def test_the_same_images_give_the_same_table():
    assert fidelity_table(REAL, SETS) == TABLE


def test_the_unit_of_the_features_does_not_matter():
    larger = fidelity_table(7 * REAL, {name: 7 * features for name, features in SETS.items()})
    for name, row in TABLE.rows.items():
        for figure, found in row.figures.items():
            assert larger.rows[name].figures[figure].value == pytest.approx(found.value)
