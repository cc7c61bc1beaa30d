"""How far apart seeds lie is estimated from all arms, and says nothing of what the arms have in common."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from classify.seed_variance import SeedVariance, seed_variance_of


def named(rng, truth, accuracies):
    wrong = (truth + 1) % 3
    return np.stack([np.where(rng.random(len(truth)) < accuracy, truth, wrong) for accuracy in accuracies])


def test_the_spread_is_the_pooled_standard_deviation_about_the_arms_means():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 120)
    arms = [named(rng, truth, (0.9, 0.7)), named(rng, truth, (0.4, 0.5, 0.6))]
    found = seed_variance_of(truth, arms, 3)
    figures = [[balanced_accuracy_score(truth, row) for row in arm] for arm in arms]
    squares = sum(float(np.var(arm)) * len(arm) for arm in figures)
    assert found.balanced_accuracy == pytest.approx((squares / 3) ** 0.5)
    first = [[recall_score(truth, row, labels=[0], average="macro") for row in arm] for arm in arms]
    assert found.recalls[0] == pytest.approx((sum(float(np.var(arm)) * len(arm) for arm in first) / 3) ** 0.5)
    assert (found.rows, found.freedom) == (5, 3)


def test_arms_that_differ_but_whose_seeds_agree_have_none():
    truth = np.array([0, 0, 1, 1, 2, 2])
    arms = [np.tile(truth, (3, 1)), np.tile(np.zeros(6, dtype=int), (2, 1))]
    found = seed_variance_of(truth, arms, 3)
    assert found.balanced_accuracy == 0
    assert found.recalls == (0, 0, 0)


def test_one_seed_an_arm_tells_nothing_and_a_class_without_images_deviates_by_nothing():
    truth = np.array([0, 0, 1, 1])
    assert seed_variance_of(truth, [truth[None], truth[None]], 3) is None
    found = seed_variance_of(truth, [np.stack([truth, 1 - truth])], 3)
    assert found.recalls[2] == 0
    assert found.recalls[0] == pytest.approx(2**-0.5)


def test_errors_are_student_s_t_of_a_mean_of_seeds():
    spread = SeedVariance(balanced_accuracy=0.1, recalls=(0.2, 0.0), rows=9, freedom=6)
    drawn = spread.errors(1 / 4, 200_000, np.random.default_rng(0))
    assert drawn.shape == (200_000, 3)
    assert np.quantile(drawn[:, 0], 0.975) == pytest.approx(2.447 * 0.1 / 2, rel=0.02)
    assert drawn[:, 1] == pytest.approx(2 * drawn[:, 0])
    assert not drawn[:, 2].any()
