import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from classify.metrics import balanced_accuracy, confusion_matrix, score, wilson

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
NAMED = np.array([0, 0, 0, 1, 1, 0, 0])


def test_scores_by_hand():
    scores = score(TRUTH, NAMED, 3)
    assert [recall.value for recall in scores.recalls] == [0.75, 0.5, 0.0]
    assert [recall.n for recall in scores.recalls] == [4, 2, 1]
    assert scores.balanced_accuracy == pytest.approx(1.25 / 3)
    assert scores.weighted_recall == pytest.approx(4 / 7)
    assert scores.confusion.tolist() == [[3, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert scores.without_images == ()


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, named = rng.integers(0, 7, 500), rng.integers(0, 7, 500)
    scores = score(truth, named, 7)
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, named))
    assert scores.weighted_recall == pytest.approx(recall_score(truth, named, average="weighted"))
    assert [r.value for r in scores.recalls] == pytest.approx(list(recall_score(truth, named, average=None)))
    np.testing.assert_array_equal(scores.confusion, sklearn_confusion(truth, named))


def test_a_class_without_images_has_no_recall_and_is_named():
    scores = score(np.array([0, 0, 2]), np.array([0, 1, 2]), 4)
    assert scores.without_images == (1, 3)
    assert np.isnan(scores.recalls[1].value)
    assert np.isnan(scores.recalls[1].low)
    assert scores.recalls[1].n == 0
    assert scores.balanced_accuracy == pytest.approx(0.75)


def test_no_images_at_all_give_nan():
    nothing = np.array([], dtype=int)
    scores = score(nothing, nothing, 2)
    assert np.isnan(scores.balanced_accuracy)
    assert np.isnan(scores.weighted_recall)


def test_perfect_predictions_give_one_and_permuted_labels_chance():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 20_000)
    assert balanced_accuracy(truth, truth, 5) == 1.0
    assert balanced_accuracy(truth, rng.permutation(truth), 5) == pytest.approx(0.2, abs=0.02)


def test_renaming_classes_changes_nothing_but_their_order():
    rng = np.random.default_rng(2)
    truth, named = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    new = np.array([2, 0, 3, 1])
    before, after = score(truth, named, 4), score(new[truth], new[named], 4)
    assert after.balanced_accuracy == pytest.approx(before.balanced_accuracy)
    assert [after.recalls[new[k]] for k in range(4)] == list(before.recalls)


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (7, 7), (1, 400)])
def test_wilson_equals_scipy(hits, n):
    ours, theirs = wilson(hits, n), binomtest(hits, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_labels_that_no_class_bears_are_refused():
    with pytest.raises(ValueError, match="from 0 to 3, outside 0 to 2"):
        confusion_matrix(np.array([0, 3]), np.array([0, 0]), 3)
    with pytest.raises((ValueError, TypeError), match=r"2 true labels, but 1 predictions|Type-check"):
        confusion_matrix(np.array([0, 1]), np.array([0]), 3)
    with pytest.raises(ValueError, match="3 hits of 2"):
        wilson(3, 2)
