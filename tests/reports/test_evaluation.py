"""The summary's figures against counts by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from classify.metrics import wilson
from reports.evaluation import Judged, known, verdict

TRUTH = np.array([0] * 10 + [1] * 6 + [2] * 4)


def _judged(**arms):
    seeds = tuple(str(i) for i in range(len(next(iter(arms.values())))))
    groups = np.array([f"g{i // 2}" for i in range(len(TRUTH))])
    return Judged(truth=TRUTH, groups=groups, classes=("a", "b", "c"), seeds=seeds,
                  named={arm: np.array(rows) for arm, rows in arms.items()})  # fmt: skip


def _noisy(seed, share):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(TRUTH)) < share, rng.integers(0, 3, len(TRUTH)), TRUTH)


def test_scores_are_scikit_learns_averaged_over_the_seeds():
    named = [_noisy(0, 0.4), _noisy(1, 0.6)]
    judged = _judged(real=named)
    for score, reference in ((judged.balanced_accuracy("real"), balanced_accuracy_score),
                             (judged.weighted_recall("real"), accuracy_score)):  # fmt: skip
        seeds = [reference(TRUTH, row) for row in named]
        assert list(score.per_seed.values()) == pytest.approx(seeds)
        assert score.mean == pytest.approx(np.mean(seeds))
        assert score.low < score.mean < score.high


def test_a_recall_has_its_images_groups_and_wilson_interval():
    named = TRUTH.copy()
    named[:3] = 1
    recall = _judged(real=[named]).recalls("real")["a"]
    assert (recall.images, recall.groups, recall.mean) == (10, 5, 0.7)
    assert (recall.low, recall.high) == (wilson(7, 10).low, wilson(7, 10).high)


def test_a_mean_between_two_counts_has_an_interval_that_holds_both():
    one, other = TRUTH.copy(), TRUTH.copy()
    one[:3], other[:4] = 1, 1
    recall = _judged(real=[one, other]).recalls("real")["a"]
    assert recall.mean == pytest.approx(0.65)
    assert (recall.low, recall.high) == (wilson(6, 10).low, wilson(7, 10).high)


def test_a_difference_is_that_of_its_first_arm_over_its_second():
    judged = _judged(oversampled=[_noisy(0, 0.9)], synthetic=[TRUTH])
    (difference,) = judged.differences()
    assert (difference.first, difference.second) == ("synthetic", "oversampled")
    gain = 1 - balanced_accuracy_score(TRUTH, _noisy(0, 0.9))
    assert difference.mean == pytest.approx(gain)
    assert difference.verdict == "higher"
    assert judged.difference("oversampled", "synthetic").mean == pytest.approx(-gain)
    assert np.mean([change.mean for change in difference.by_class.values()]) == pytest.approx(gain)


def test_the_headline_is_synthetic_against_oversampled():
    judged = _judged(real=[TRUTH], oversampled=[TRUTH], synthetic=[TRUTH])
    pairs = [(d.first, d.second) for d in judged.differences()]
    assert pairs == [("synthetic", "oversampled"), ("synthetic", "real"), ("oversampled", "real")]


def test_an_arm_of_another_name_is_compared_after_the_headline():
    judged = _judged(real=[TRUTH], oversampled=[TRUTH], synthetic=[TRUTH], theirs=[TRUTH])
    pairs = [(d.first, d.second) for d in judged.differences()]
    theirs = [("theirs", "oversampled"), ("theirs", "real"), ("theirs", "synthetic")]
    assert pairs == [("synthetic", "oversampled"), ("synthetic", "real"), *theirs, ("oversampled", "real")]
    alone = _judged(real=[TRUTH], oversampled=[TRUTH], theirs=[TRUTH])
    assert alone.differences()[0].second == "oversampled"


def test_equal_arms_are_not_told_apart():
    assert _judged(real=[_noisy(0, 0.5)], synthetic=[_noisy(0, 0.5)]).differences()[0].verdict == "unclear"


def test_the_confusion_matrix_counts_every_image_of_every_seed():
    matrix = np.array(_judged(real=[_noisy(0, 0.5), TRUTH]).confusion("real"))
    assert matrix.sum(axis=1).tolist() == [20, 12, 8]
    assert matrix[0, 0] == 10 + (_noisy(0, 0.5)[:10] == 0).sum()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.2, "higher"),
        (-0.2, -0.1, "lower"),
        (-0.1, 0.1, "unclear"),
        (0.0, 0.1, "unclear"),
        (None, None, "undefined"),
    ],
)
def test_a_verdict_needs_an_interval_clear_of_zero(low, high, said):
    assert verdict(low, high) == said


def test_what_is_not_a_number_is_none():
    assert known(float("nan")) is None
    assert known(0.5) == 0.5
