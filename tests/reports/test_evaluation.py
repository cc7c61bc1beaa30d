"""The summary's figures against counts by hand and against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from classify.tested import Tested
from reports.evaluation import Evaluation, none_if_nan, verdict

TRUTH = np.array([0] * 10 + [1] * 6 + [2] * 4)


def _evaluation(*more, **arms):
    seeds = tuple(str(i) for i in range(len(next(iter(arms.values())))))
    groups = np.array([f"g{i // 2}" for i in range(len(TRUTH))])
    repeats = tuple(
        replace(Tested.of_classes(TRUTH, groups, {arm: np.array(rows) for arm, rows in each.items()}, 3), name=f"r{n}")
        for n, each in enumerate((arms, *more))
    )
    return Evaluation(repeats=repeats, classes=("a", "b", "c"), seeds=seeds)


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


def test_a_recall_has_its_images_its_groups_and_what_its_interval_holds():
    one, other = TRUTH.copy(), TRUTH.copy()
    one[:3], other[:4] = 1, 1
    recall = _evaluation(real=[one, other]).recalls("real")["a"]
    assert (recall.images, recall.groups, recall.mean) == (10, 5, pytest.approx(0.65))
    assert recall.per_seed == {"0": 0.7, "1": 0.6}
    assert 0 < recall.low < 0.65 < recall.high < 1
    assert [part.name for part in recall.parts] == ["test lesions", "classifier seeds"]
    assert sum(part.share for part in recall.parts) == pytest.approx(1)


def test_images_found_are_counted_by_class_on_average_over_the_seeds():
    half = TRUTH.copy()
    half[:4] = 1
    found = _evaluation(real=[TRUTH, half], synthetic=[half, half]).difference("synthetic", "real").found
    assert (found["a"].images, found["a"].first, found["a"].second) == (10, 6, 8)
    assert (found["c"].first, found["c"].second) == (4, 4)


def test_an_interval_says_which_parts_are_in_it_and_which_are_not():
    arms = {"real": [_noisy(0, 0.5), _noisy(1, 0.5)], "synthetic": [_noisy(2, 0.5), _noisy(3, 0.5)]}
    other = {"real": arms["real"], "synthetic": [_noisy(4, 0.5), _noisy(5, 0.5)]}
    alone = _evaluation(real=[_noisy(0, 0.5)], synthetic=[_noisy(2, 0.5)]).difference("synthetic", "real").varied
    once = _evaluation(**arms).difference("synthetic", "real").varied
    twice = _evaluation(other, **arms).difference("synthetic", "real")
    assert "not in it: other seeds of the classifiers; another split" in alone
    assert "the classifiers’ seeds (" in once
    assert once.endswith("not in it: another split, other few-shot images and another generator")
    assert "the generator’s draw (" in twice.varied
    assert twice.varied.endswith("not in it: another split and other few-shot images")
    assert list(twice.per_seed) == ["r0, seed 0", "r0, seed 1", "r1, seed 0", "r1, seed 1"]


def test_p_values_are_adjusted_over_the_claimed_comparisons_alone():
    evaluation = _evaluation(a=[_noisy(0, 0.9)], b=[_noisy(1, 0.5)], c=[TRUTH])
    found = evaluation.differences([("c", "a"), ("c", "b"), ("b", "a")], 2)
    assert found[2].p_holm is None
    assert found[0].p_holm == pytest.approx(min(1, 2 * found[0].p_value))
    assert found[1].p_holm >= found[1].p_value


def test_probabilities_averaged_over_the_seeds_are_an_arms_second_figure():
    wrong = TRUTH.copy()
    wrong[:6] = 1
    evaluation = _evaluation(real=[TRUTH, TRUTH, wrong])
    assert evaluation.balanced_accuracy("real").mean < 1
    assert evaluation.ensemble("real").mean == 1


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
