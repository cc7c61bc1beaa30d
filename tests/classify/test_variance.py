"""An interval's error: its parts, their degrees of freedom, and what follows from them."""

import numpy as np
import pytest
from scipy.stats import t as student_t

from classify.tested import BALANCED, Layout, Tested, arm_figures
from classify.variance import SEED_PRIOR, Error, Part, error_of


def part(name, variance, freedom):
    return Part(name=name, variance=variance, freedom=freedom)


def test_degrees_of_freedom_are_welchs_for_two_samples():
    error = Error.of(part("test lesions", 4 / 10, 9), part("classifier seeds", 9 / 5, 4))
    welch = (4 / 10 + 9 / 5) ** 2 / ((4 / 10) ** 2 / 9 + (9 / 5) ** 2 / 4)
    assert error.freedom == pytest.approx(welch)
    assert error.half_width(0.95) == pytest.approx(2.2**0.5 * student_t.ppf(0.975, welch))
    assert error.shares["classifier seeds"] == pytest.approx(1.8 / 2.2)


def test_an_effect_at_the_intervals_end_has_p_of_five_percent_and_the_smallest_seen_is_larger():
    error = Error.of(part("test lesions", 0.01, 30))
    assert error.p_value(error.half_width(0.95)) == pytest.approx(0.05)
    assert error.smallest_seen(0.95) == pytest.approx(0.1 * (student_t.ppf(0.975, 30) + student_t.ppf(0.8, 30)))


def test_the_smallest_effect_is_seen_by_four_in_five_studies():
    rng, error = np.random.default_rng(0), Error.of(part("test lesions", 1.0, 400))
    seen = rng.normal(error.smallest_seen(0.95), 1, 20_000) > error.half_width(0.95)
    assert seen.mean() == pytest.approx(0.8, abs=0.01)


def named(rng, truth, seeds, accuracy):
    return np.where(rng.random((seeds, len(truth))) < accuracy, truth, (truth + 1) % 3)


def study(rng, draws, *, fixed=False, seeds=2):
    truth, groups = np.arange(300) % 3, np.arange(300)
    real = named(rng, truth, seeds, 0.7)
    return tuple(
        Tested.of_classes(truth, groups, {"real": real if fixed else named(rng, truth, seeds, 0.7),
                                          "synthetic": named(rng, truth, seeds, accuracy)}, 3)
        for accuracy in draws
    )  # fmt: skip


def error_between(repeats, *, seeds_vary=True):
    layout = Layout.of(repeats, 3)
    arms = [(sign, arm_figures(repeats, arm, layout)) for sign, arm in ((1.0, "synthetic"), (-1.0, "real"))]
    return error_of(arms, BALANCED, layout, seeds_vary=seeds_vary)


def test_one_repeat_has_lesions_and_seeds_and_one_seed_the_lesions_alone():
    rng = np.random.default_rng(0)
    assert list(error_between(study(rng, [0.7])).shares) == ["test lesions", "classifier seeds"]
    assert list(error_between(study(rng, [0.7], seeds=1)).shares) == ["test lesions"]
    assert list(error_between(study(rng, [0.7]), seeds_vary=False).shares) == ["test lesions"]


def test_a_seeds_variance_is_shrunk_towards_the_usual_one():
    (one,) = study(np.random.default_rng(1), [0.7])
    alike = {arm: one.predicted(arm)[[0, 0]] for arm in ("real", "synthetic")}
    repeats = (Tested.of_classes(one.truth, one.groups, alike, 3),)
    seeds = error_between(repeats).parts[1]
    assert seeds.variance == pytest.approx(2 * SEED_PRIOR**2 / 2 / 2)  # two arms, two seeds, half of the prior's weight
    assert seeds.freedom == pytest.approx(4)


def test_draws_that_differ_are_a_part_of_their_own():
    calm, drawn = (error_between(study(np.random.default_rng(2), accuracies)) for accuracies in
                   ([0.7, 0.7, 0.7], [0.5, 0.7, 0.9]))  # fmt: skip
    assert drawn.shares["draw"] > 0.7
    assert drawn.standard > 3 * calm.standard
    assert calm.parts[2].variance < drawn.parts[2].variance / 20


def test_an_arm_that_is_not_drawn_anew_keeps_its_seeds_error():
    rng = np.random.default_rng(3)
    fixed = error_between(study(rng, [0.7] * 9, fixed=True))
    anew = error_between(study(rng, [0.7] * 9))
    assert fixed.parts[1].variance > 1.5 * anew.parts[1].variance


def grid(rng, *, seeds=2):
    """Two study seeds with two generator seeds each: the classifiers of real images are the same for both of these."""
    truth, groups, repeats = np.arange(300) % 3, np.arange(300), []
    for draw in ("a", "b"):
        real = named(rng, truth, seeds, 0.7)
        for _ in range(2):
            arms = {"real": real, "synthetic": named(rng, truth, seeds, 0.7)}
            probabilities = Tested.of_classes(truth, groups, arms, 3).probabilities
            repeats.append(Tested(truth=truth, groups=groups, probabilities=probabilities, draw=draw))
    return tuple(repeats)


def test_classifiers_that_generator_seeds_share_are_counted_once():
    repeats = grid(np.random.default_rng(3))
    layout = Layout.of(repeats, 3)
    real, synthetic = (arm_figures(repeats, arm, layout) for arm in ("real", "synthetic"))
    assert (real.distinct, synthetic.distinct) == ((0, 2), (0, 1, 2, 3))
    of_seeds = [error_of([(1.0, arm)], BALANCED, layout).parts[1] for arm in (real, synthetic)]
    assert [part.freedom for part in of_seeds] == [2 * 1 + 1, 4 * 1 + 1]


def test_an_arm_of_one_seed_and_one_draw_has_the_usual_variance_of_seeds_beside_a_drawn_one():
    error = error_between(study(np.random.default_rng(4), [0.6, 0.7, 0.8], fixed=True, seeds=1))
    assert list(error.shares) == ["test lesions", "classifier seeds", "draw"]
    assert error.parts[1].variance == pytest.approx(SEED_PRIOR**2)
