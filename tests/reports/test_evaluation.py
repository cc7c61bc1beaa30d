"""The summary's figures against counts by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from classify.metrics import wilson
from reports.evaluation import Evaluation, none_if_nan, verdict

TRUTH = np.array([0] * 10 + [1] * 6 + [2] * 4)


def _evaluation(**arms):
    seeds = tuple(str(i) for i in range(len(next(iter(arms.values())))))
    groups = np.array([f"g{i // 2}" for i in range(len(TRUTH))])
    return Evaluation(truth=TRUTH, groups=groups, classes=("a", "b", "c"), seeds=seeds,
                      predicted={arm: np.array(rows) for arm, rows in arms.items()})  # fmt: skip


def _noisy(seed, share):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(TRUTH)) < share, rng.integers(0, 3, len(TRUTH)), TRUTH)


def test_scores_are_scikit_learns_averaged_over_the_seeds():
    predicted = [_noisy(0, 0.4), _noisy(1, 0.6)]
    evaluation = _evaluation(real=predicted)
    for score, reference in ((evaluation.balanced_accuracy("real"), balanced_accuracy_score),
                             (evaluation.weighted_recall("real"), accuracy_score)):  # fmt: skip
        seeds = [reference(TRUTH, row) for row in predicted]
        assert list(score.per_seed.values()) == pytest.approx(seeds)
        assert score.mean == pytest.approx(np.mean(seeds))
        assert score.low < score.mean < score.high


def test_a_recall_has_its_images_groups_and_wilson_interval():
    predicted = TRUTH.copy()
    predicted[:3] = 1
    recall = _evaluation(real=[predicted]).recalls("real")["a"]
    assert (recall.images, recall.groups, recall.mean) == (10, 5, 0.7)
    assert (recall.low, recall.high) == (wilson(7, 10).low, wilson(7, 10).high)


def test_a_mean_between_two_counts_has_an_interval_that_holds_both():
    one, other = TRUTH.copy(), TRUTH.copy()
    one[:3], other[:4] = 1, 1
    recall = _evaluation(real=[one, other]).recalls("real")["a"]
    assert recall.mean == pytest.approx(0.65)
    assert (recall.low, recall.high) == (wilson(6, 10).low, wilson(7, 10).high)


def test_a_difference_is_that_of_its_first_arm_over_its_second():
    evaluation = _evaluation(oversampled=[_noisy(0, 0.9)], synthetic=[TRUTH])
    (difference,) = evaluation.differences([("synthetic", "oversampled")])
    assert (difference.first, difference.second) == ("synthetic", "oversampled")
    gain = 1 - balanced_accuracy_score(TRUTH, _noisy(0, 0.9))
    assert difference.mean == pytest.approx(gain)
    assert difference.verdict == "higher"
    assert evaluation.difference("oversampled", "synthetic").mean == pytest.approx(-gain)
    assert np.mean([change.mean for change in difference.by_class.values()]) == pytest.approx(gain)


def test_equal_arms_are_not_told_apart():
    same = _evaluation(real=[_noisy(0, 0.5)], synthetic=[_noisy(0, 0.5)])
    assert same.difference("synthetic", "real").verdict == "unclear"


def test_the_confusion_matrix_counts_every_image_of_every_seed():
    matrix = np.array(_evaluation(real=[_noisy(0, 0.5), TRUTH]).confusion("real"))
    assert matrix.sum(axis=1).tolist() == [20, 12, 8]
    assert matrix[0, 0] == 10 + (_noisy(0, 0.5)[:10] == 0).sum()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, "higher"),
        (-0.2, -0.1, "lower"),
        (-0.1, 0.1, "unclear"),
        (0.0, 0.1, "unclear"),
        (None, None, "undefined"),
    ],
)
def test_a_verdict_needs_an_interval_clear_of_zero(low, high, expected):
    assert verdict(low, high) == expected


def test_what_is_not_a_number_is_none():
    assert none_if_nan(float("nan")) is None
    assert none_if_nan(0.5) == 0.5
