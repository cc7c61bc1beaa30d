import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import balanced_accuracy_score

from classify.comparison import Bootstrap, estimate_arm, estimate_difference
from classify.seed_variance import SeedVariance, seed_variance_of


def simulated(rng, n=400, k=4, accuracy=0.7, seeds=2):
    truth = rng.integers(0, k, n)
    wrong = (truth + rng.integers(1, k, (seeds, n))) % k
    return truth, np.where(rng.random((seeds, n)) < accuracy, truth, wrong)


def test_the_value_is_the_mean_balanced_accuracy_of_the_seeds():
    truth, named = simulated(np.random.default_rng(0))
    found = estimate_arm(truth, named, np.arange(400), 4)
    expected = [balanced_accuracy_score(truth, row) for row in named]
    assert found.by_seed == pytest.approx(tuple(expected))
    assert found.balanced_accuracy.value == pytest.approx(np.mean(expected))
    assert found.balanced_accuracy.low < found.balanced_accuracy.value < found.balanced_accuracy.high


def test_an_arm_against_itself_differs_by_nothing():
    truth, named = simulated(np.random.default_rng(1))
    found = estimate_difference(truth, named, named, np.arange(400), 4)
    same = found.balanced_accuracy
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert all((recall.value, recall.low, recall.high) == (0, 0, 0) for recall in found.recalls)
    assert found.by_seed == (0, 0)


def test_swapping_the_arms_turns_the_sign():
    rng = np.random.default_rng(2)
    truth, first = simulated(rng)
    second = simulated(rng)[1]
    there = estimate_difference(truth, first, second, np.arange(400), 4).balanced_accuracy
    back = estimate_difference(truth, second, first, np.arange(400), 4).balanced_accuracy
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_the_difference_is_that_of_the_arms():
    rng = np.random.default_rng(3)
    truth, first = simulated(rng)
    second = np.where(rng.random((3, 400)) < 0.3, truth, first[[0, 1, 0]])
    arms = [estimate_arm(truth, arm, np.arange(400), 4) for arm in (first, second)]
    found = estimate_difference(truth, first, second, np.arange(400), 4)
    gain = arms[1].balanced_accuracy.value - arms[0].balanced_accuracy.value
    assert found.balanced_accuracy.value == pytest.approx(gain)
    assert found.balanced_accuracy.low > 0


def test_images_of_their_own_groups_give_scipys_interval():
    rng = np.random.default_rng(4)
    truth, named = simulated(rng, n=300, seeds=1)
    ours = estimate_arm(truth, named, np.arange(300), 4).balanced_accuracy
    theirs = scipy_bootstrap(
        (truth, named[0]), balanced_accuracy_score, paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_images_that_err_together_make_the_interval_wider():
    rng = np.random.default_rng(6)
    truth, named = simulated(rng, n=100, seeds=1)
    alone = estimate_arm(truth, named, np.arange(100), 4).balanced_accuracy
    copied = estimate_arm(np.tile(truth, 9), np.tile(named, 9), np.tile(np.arange(100), 9), 4).balanced_accuracy
    ignored = estimate_arm(np.tile(truth, 9), np.tile(named, 9), np.arange(900), 4).balanced_accuracy
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert ignored.high - ignored.low < 0.5 * (copied.high - copied.low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        truth, named = simulated(rng, n=200, seeds=1)
        found = estimate_arm(
            truth, named, np.arange(200), 4, bootstrap=Bootstrap(resamples=200, seed=trial)
        ).balanced_accuracy
        held += found.low <= 0.7 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_permuted_labels_give_chance():
    rng = np.random.default_rng(8)
    truth, named = simulated(rng, n=2000)
    found = estimate_arm(rng.permutation(truth), named, np.arange(2000), 4).balanced_accuracy
    assert found.low < 0.25 < found.high


def test_a_class_without_images_is_nan_and_named():
    truth, named = np.array([0, 0, 1, 1]), np.array([[0, 0, 1, 0]])
    found = estimate_arm(truth, named, np.array(["a", "a", "b", "c"]), 3)
    assert found.without_images == (2,)
    assert np.isnan([found.recalls[2].value, found.recalls[2].low, found.recalls[2].high]).all()
    assert found.recalls[2].n == 0
    assert found.balanced_accuracy.value == pytest.approx(0.75)
    assert (found.recalls[1].n, found.recalls[1].groups) == (2, 2)


def test_the_same_seed_gives_the_same_interval_and_says_what_varied():
    truth, named = simulated(np.random.default_rng(9))
    groups = np.arange(400) // 2
    first, again = (estimate_arm(truth, named, groups, 4) for _ in range(2))
    other = estimate_arm(truth, named, groups, 4, bootstrap=Bootstrap(seed=1))
    assert first == again
    assert first.balanced_accuracy.low != other.balanced_accuracy.low
    assert first.balanced_accuracy.varied == (
        "2000 draws of the 200 leakage groups of the test part; the 2 classifier seeds are averaged, not drawn; "
        "split, few-shot images and generator are fixed"
    )


def test_predictions_of_another_length_are_refused():
    with pytest.raises((ValueError, TypeError), match=r"are \(1, 3\), wanted \(seeds, 2\)|Type-check"):
        estimate_arm(np.array([0, 1]), np.array([[0, 1, 1]]), np.array([0, 1]), 2)


def test_the_seeds_spread_makes_the_interval_wider_and_is_said():
    truth, named = simulated(np.random.default_rng(10))
    groups = np.arange(400)
    spread = SeedVariance(balanced_accuracy=0.05, recalls=(0.1, 0.1, 0.1, 0.0), rows=6, freedom=4)
    plain, whole = (estimate_arm(truth, named, groups, 4, seed_variance=each) for each in (None, spread))
    assert whole.balanced_accuracy.value == plain.balanced_accuracy.value
    assert _length(whole.balanced_accuracy) > 2 * _length(plain.balanced_accuracy)
    assert _length(whole.recalls[0]) > 1.5 * _length(plain.recalls[0])
    assert _length(whole.recalls[3]) == pytest.approx(_length(plain.recalls[3]))
    assert whole.balanced_accuracy.varied == (
        "2000 draws of the 400 leakage groups of the test part; also the classifiers' seeds, by the spread of 6 "
        "classifiers: one lies 5.0 points of balanced accuracy from its arm's mean (standard deviation); split, "
        "few-shot images and generator are fixed"
    )
    huge = SeedVariance(balanced_accuracy=9.0, recalls=(9.0,) * 4, rows=6, freedom=4)
    found = estimate_arm(truth, named, groups, 4, seed_variance=huge).balanced_accuracy
    assert (found.low, found.high) == (0, 1)
    found = estimate_difference(truth, named, named, groups, 4, seed_variance=huge).balanced_accuracy
    assert (found.low, found.high) == (-1, 1)


def test_where_seeds_differ_a_difference_s_interval_holds_the_truth_only_if_their_spread_is_in_it():
    rng, groups = np.random.default_rng(11), np.arange(400)
    held = {"left out": 0, "in it": 0}
    for trial in range(150):
        truth = rng.integers(0, 4, 400)
        arms = [np.concatenate([simulated_for(truth, rng, rng.normal(0.7, 0.06)) for _ in range(3)]) for _ in range(3)]
        spread = seed_variance_of(truth, arms, 4)
        for name, given in (("left out", None), ("in it", spread)):
            found = estimate_difference(
                truth, arms[0], arms[1], groups, 4, seed_variance=given, bootstrap=Bootstrap(resamples=200, seed=trial)
            ).balanced_accuracy
            held[name] += found.low <= 0 <= found.high
    assert held["left out"] / 150 < 0.75
    assert held["in it"] / 150 >= 0.92


def simulated_for(truth, rng, accuracy):
    wrong = (truth + rng.integers(1, 4, len(truth))) % 4
    return np.where(rng.random(len(truth)) < accuracy, truth, wrong)[None]


def _length(found):
    return found.high - found.low
