"""An arm's place on a curve whose true shape is planted."""

import numpy as np
import pytest

from classify.comparison import Comparison
from classify.tested import BALANCED, Tested
from classify.worth import worth

NUMBERS = {"real@16": 16.0, "real@32": 32.0, "real@64": 64.0}


def study(rng, shares, lesions=300, seeds=3):
    """Arms that find each image with the given probability; lesions that are hard are hard for all."""
    truth = np.arange(3 * lesions) % 3
    hard, named = rng.random(len(truth)), {}
    for arm, share in shares.items():
        rest = rng.random((seeds, len(truth)))
        is_right = np.where(rng.random((seeds, len(truth))) < 0.7, hard, rest) < share
        named[arm] = np.where(is_right, truth, (truth + 1) % 3)
    return Comparison((Tested.of_classes(truth, np.arange(len(truth)), named, 3),), 3)


def on_curve(photographs):
    return 0.4 + 0.1 * (np.log2(photographs) - 4)


CURVE = {arm: on_curve(number) for arm, number in NUMBERS.items()}


def test_an_arm_of_the_curve_is_worth_its_own_photographs():
    comparison = study(np.random.default_rng(0), CURVE)
    found = worth(comparison, NUMBERS, "real@32", BALANCED)
    assert found.value == pytest.approx(32, rel=1e-6)


def test_a_place_between_two_points_is_straight_over_the_logarithm():
    comparison = study(np.random.default_rng(1), CURVE | {"synthetic": on_curve(24)}, lesions=4000)
    found = worth(comparison, NUMBERS, "synthetic", BALANCED)
    assert found.value == pytest.approx(24, rel=0.12)
    assert found.low < 24 < found.high


@pytest.mark.parametrize(("share", "below"), [(0.1, True), (0.95, False)])
def test_an_arm_outside_the_curve_is_said_to_be_outside_it_and_on_which_side(share, below):
    found = worth(study(np.random.default_rng(2), CURVE | {"synthetic": share}), NUMBERS, "synthetic", BALANCED)
    assert found.value is None
    assert found.is_below is below
    assert (found.low if below else found.high) is None


def test_arms_with_the_same_number_of_photographs_are_one_point():
    comparison = study(np.random.default_rng(5), CURVE | {"real": on_curve(16), "synthetic": 0.45}, lesions=2000)
    found = worth(comparison, NUMBERS | {"real": 16.0}, "synthetic", BALANCED)
    means = [comparison.figures(arm).means[BALANCED] for arm in ("real", "real@16")]
    assert [number for number, _ in found.curve] == [16, 32, 64]
    assert min(means) <= found.curve[0][1] <= max(means)


def test_points_that_fall_by_chance_make_a_flat_curve_and_one_number_none():
    comparison = study(np.random.default_rng(3), {"real@16": 0.6, "real@32": 0.5, "synthetic": 0.55})
    found = worth(comparison, {"real@16": 16.0, "real@32": 32.0}, "synthetic", BALANCED)
    assert found.curve[0][1] == found.curve[1][1]
    with pytest.raises(ValueError, match="make no curve"):
        worth(comparison, {"real@16": 16.0}, "synthetic", BALANCED)


def test_the_interval_holds_the_planted_worth_as_often_as_it_says():
    rng, held, trials = np.random.default_rng(4), 0, 80
    for trial in range(trials):
        found = worth(study(rng, CURVE | {"synthetic": on_curve(28)}), NUMBERS, "synthetic", BALANCED, seed=trial)
        low, high = found.low or 0.0, found.high or np.inf
        held += low <= 28 <= high
    assert held / trials >= 0.9
