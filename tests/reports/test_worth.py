"""The curve of a study whose arms of real images differ in their photographs of rare classes."""

import pytest

from reports.arms import arms_of
from reports.curve import photograph_curve
from reports.figures import Glyph
from reports.run_folder import RunFolder
from reports.schema import ArmTraining
from reports.summary import evaluation_of
from reports.worth import curve_of, is_on_curve

RARE = ("akiec", "df", "vasc")
PHOTOGRAPHS = {"real": 64, "real@16": 16, "real@32": 32, "oversampled": 16, "synthetic": 16}


@pytest.fixture
def evaluation(make_run):
    skill = {"real@16": 0.5, "real@32": 1.5, "real": 2.5, "synthetic": 1.4}
    return evaluation_of(RunFolder.open(make_run(arms=tuple(PHOTOGRAPHS), skill=skill)))


def training(photographs):
    counts = {label: {"real": photographs, "repeated": 0, "synthetic": 0} for label in RARE}
    return ArmTraining(counts=counts, steps=1, best_steps={}, seconds=0.0)


def test_an_arm_is_placed_between_the_numbers_that_it_lies_between(evaluation):
    curve = curve_of(evaluation, {arm: training(n) for arm, n in PHOTOGRAPHS.items()}, RARE, ())
    assert curve.photographs == {"real@16": 16, "real@32": 32, "real": 64}
    assert list(curve.risen.values()) == sorted(curve.risen.values())
    (worth,) = curve.worths
    assert (worth.arm, worth.photographs, list(worth.by_class)) == ("synthetic", 16, list(RARE))
    assert 16 < worth.place.value < 50


def test_one_number_of_photographs_makes_no_curve(evaluation):
    assert curve_of(evaluation, {arm: training(16) for arm in PHOTOGRAPHS}, RARE, ()) is None


def test_arms_that_are_filled_up_are_not_on_the_curve():
    names = (*PHOTOGRAPHS, "balanced", "autoencoded")
    assert [name for name, arm in arms_of(names, ()).items() if is_on_curve(arm)] == ["real", "real@16", "real@32"]


def test_the_figure_has_every_arm_of_the_curve_and_the_place_of_the_others(evaluation):
    curve = curve_of(evaluation, {arm: training(n) for arm, n in PHOTOGRAPHS.items()}, RARE, ())
    scores = {arm: evaluation.balanced_accuracy(arm) for arm in PHOTOGRAPHS}
    figure = photograph_curve(curve, scores, dict.fromkeys(PHOTOGRAPHS, Glyph("circle", "tone-real")))
    assert figure.count('class="mark"') == 4
    assert [f">{n}</text>" in figure for n in (16, 32, 64)] == [True] * 3
    assert 'class="placed"' in figure
    assert f">{curve.worths[0].place.value:.0f}</text>" in figure


def test_a_class_with_the_same_photographs_in_every_arm_has_no_curve_of_its_own(evaluation):
    counts = {arm: training(n) for arm, n in PHOTOGRAPHS.items()}
    for each in counts.values():
        each.counts[RARE[0]]["real"] = 14
    curve = curve_of(evaluation, counts, RARE, ())
    assert set(curve.worths[0].by_class) == set(RARE[1:])
