"""The share of decoded images must tell nothing of the class, whatever an arm's images are."""

import dataclasses

import numpy as np
import pytest

from classify.config import ClassifierConfig
from classify.fit import Labelled, schedule_of
from classify.mix import CODED, HALF, KINDS, PHOTOGRAPH, SYNTHETIC, cells_of, decoded_share, phases, shares

CONFIG = ClassifierConfig(steps=500, batch_size=32)
ARMS = {  # photographs, coded photographs and synthetic images of a common class, a middling one and a rare one
    "real": [(600, 400, 0), (60, 60, 0), (6, 6, 0)],
    "oversampled": [(600, 400, 0), (60, 60, 0), (60, 6, 0)],
    "synthetic": [(600, 400, 0), (60, 60, 0), (6, 6, 54)],
    "ten times as many": [(600, 400, 0), (60, 60, 0), (6, 6, 60)],
    "fewer than photographs": [(600, 400, 0), (60, 60, 0), (6, 6, 3)],
    "few photographs": [(600, 400, 0), (60, 60, 0), (2, 2, 58)],
    "two rare classes": [(600, 400, 0), (20, 20, 40), (2, 2, 4)],
}


def of(counts, **changes):
    given = {"sampling": 0.5, "decoded": 0.5, "drawn": 0.5, "loss": None, **changes}
    return shares(np.array(counts), **given)


def by_class(shown):
    """The shares of kinds within each class."""
    chance = shown.chance.reshape(-1, KINDS)
    return chance / chance.sum(axis=1, keepdims=True)


def loss_of(shown):
    """What each cell adds to the loss, by class and kind."""
    return (shown.chance * shown.weights).reshape(-1, KINDS)


def table(counts):
    """A table of so many images a cell, of no pixels."""
    cells = [(label, kind) for label, row in enumerate(counts) for kind, n in enumerate(row) for _ in range(n)]
    classes, kinds = np.array(cells).T
    return Labelled(pixels=np.zeros((len(cells), 1, 1, 3), np.uint8), classes=classes, kinds=kinds)


def drawn_kinds(counts, config=CONFIG, coding="mixed"):
    """Draws of a training by class and kind, and the schedule."""
    train = table(counts)
    schedule = schedule_of(train, len(counts), config, coding, seed=1)
    cells = cells_of(train.classes, train.kinds)[schedule.rows]
    return np.bincount(cells.ravel(), minlength=len(counts) * KINDS).reshape(-1, KINDS), schedule


@pytest.mark.parametrize("arm", ARMS)
def test_half_of_the_draws_of_every_class_are_decoded_in_every_arm(arm):
    drawn, _ = drawn_kinds(ARMS[arm])
    decoded = (drawn[:, CODED] + drawn[:, SYNTHETIC]) / drawn.sum(axis=1)
    assert decoded == pytest.approx([HALF] * 3, abs=0.002)


@pytest.mark.parametrize("arm", ARMS)
def test_each_class_has_the_same_sum_of_losses_whatever_its_kinds(arm):
    for changes in ({}, {"loss": 0.2}, {"decoded": 0.0}, {"drawn": None}, {"drawn": 1.0, "decoded": 1.0}):
        assert loss_of(of(ARMS[arm], **changes)).sum(axis=1) == pytest.approx([1 / 3] * 3)
        assert of(ARMS[arm], **changes).chance.sum() == pytest.approx(1)


def test_what_is_scheduled_has_these_losses():
    train = table(ARMS["synthetic"])
    schedule = schedule_of(train, 3, dataclasses.replace(CONFIG, synthetic_loss=0.2), "mixed", seed=1)
    cells = cells_of(train.classes, train.kinds)[schedule.rows]
    sums = np.bincount(cells.ravel(), weights=schedule.weights.ravel(), minlength=9).reshape(3, KINDS)
    share = sums / schedule.weights.size
    assert share.sum(axis=1) == pytest.approx([1 / 3] * 3, rel=0.01)
    assert share[2, SYNTHETIC] == pytest.approx(0.2 / 3, rel=0.02)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_synthetic_images_carry_the_share_of_their_class_s_loss_that_is_asked_for(share):
    loss = loss_of(of(ARMS["synthetic"], loss=share))
    assert loss[2, SYNTHETIC] / loss[2].sum() == pytest.approx(share)
    plain = loss_of(of(ARMS["synthetic"]))
    assert loss.sum(axis=1) == pytest.approx(plain.sum(axis=1))
    decoded = (loss[:, CODED] + loss[:, SYNTHETIC]) / loss.sum(axis=1)
    assert decoded == pytest.approx([share] * 3), "else the trace would be a sign of a class again"
    assert loss_of(of(ARMS["synthetic"], loss=share, decoded=0.0))[:2] == pytest.approx(
        loss_of(of(ARMS["synthetic"], decoded=0.0))[:2]
    )
    assert plain[2, SYNTHETIC] / plain[2].sum() == pytest.approx(0.5)  # as they are drawn


def test_synthetic_images_have_their_share_of_the_draws_or_that_of_their_number():
    counts = ARMS["synthetic"]
    assert by_class(of(counts, drawn=0.3))[2] == pytest.approx([0.5, 0.2, 0.3])
    assert by_class(of(counts, drawn=None, decoded=0.0))[2] == pytest.approx([0.1, 0.0, 0.9])
    assert by_class(of(counts, drawn=0.5))[1] == pytest.approx([0.5, 0.5, 0.0])


def test_without_coding_no_coded_image_is_drawn():
    drawn, _ = drawn_kinds(ARMS["synthetic"], coding="none")
    assert drawn[:, CODED].tolist() == [0, 0, 0]
    assert drawn[2, SYNTHETIC] / drawn[2].sum() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("counts", "config", "share"),
    [
        ([(600, 400, 0), (60, 60, 0), (0, 0, 60)], CONFIG, 1.0),  # synthetic images in place of photographs
        (ARMS["synthetic"], dataclasses.replace(CONFIG, synthetic_draws=None), 0.9),
        (ARMS["synthetic"], dataclasses.replace(CONFIG, synthetic_draws=0.7), 0.7),
        (ARMS["real"], dataclasses.replace(CONFIG, synthetic_draws=0.7), 0.7),  # the same as in the arm before
    ],
)
def test_where_synthetic_images_alone_are_more_than_half_every_class_has_as_many_decoded_ones(counts, config, share):
    drawn, _ = drawn_kinds(counts, config)
    decoded = (drawn[:, CODED] + drawn[:, SYNTHETIC]) / drawn.sum(axis=1)
    assert decoded == pytest.approx([share] * 3, abs=0.01)


def test_a_coded_photograph_makes_no_class_more_frequent():
    with_coded = of([(60, 60, 0), (15, 15, 0)]).chance.reshape(-1, KINDS).sum(axis=1)
    assert with_coded == pytest.approx(of([(60, 0, 0), (15, 0, 0)]).chance.reshape(-1, KINDS).sum(axis=1))
    assert with_coded == pytest.approx([2 / 3, 1 / 3])


def test_a_training_is_one_phase_unless_synthetic_images_come_first():
    (only,) = phases(CONFIG, "mixed")
    assert (only.steps, only.decoded, only.drawn) == (500, 0.5, 0.5)
    first, second = phases(dataclasses.replace(CONFIG, synthetic_first=0.3), "mixed")
    assert (first.steps, first.decoded, first.drawn) == (150, 1.0, 1.0)
    assert (second.steps, second.decoded, second.drawn) == (350, 0.0, 0.0)
    assert phases(dataclasses.replace(CONFIG, synthetic_first=0.3), "none")[0].decoded == 0.0


def test_synthetic_images_come_first_in_place_of_photographs_and_then_none_is_drawn():
    train = table(ARMS["synthetic"])
    config = dataclasses.replace(CONFIG, synthetic_first=0.5)
    schedule = schedule_of(train, 3, config, "mixed", seed=1)
    assert schedule.rows.shape == schedule.weights.shape == (500, 32)
    kinds, classes = train.kinds[schedule.rows], train.classes[schedule.rows]
    before, after = slice(250), slice(250, None)
    assert set(kinds[before][classes[before] == 2]) == {SYNTHETIC}
    assert set(kinds[before][classes[before] != 2]) == {CODED}  # no class is told by the decoder's trace
    assert set(kinds[after].ravel()) == {PHOTOGRAPH}


@pytest.mark.parametrize(("coding", "draws", "share"), [
    ("none", 0.5, 0.0), ("all", 0.5, 0.0), ("mixed", 0.2, 0.5), ("mixed", 0.8, 0.8), ("mixed", None, 0.5)
])  # fmt: skip
def test_photographs_are_coded_on_purpose_under_mixed_coding_alone(coding, draws, share):
    assert decoded_share(coding, dataclasses.replace(CONFIG, synthetic_draws=draws)) == share
