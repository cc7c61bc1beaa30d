import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from classify.comparison import Comparison
from classify.tested import Tested


def simulated(rng, n=400, k=4, accuracy=0.7, seeds=2):
    truth = rng.integers(0, k, n)
    wrong = (truth + rng.integers(1, k, (seeds, n))) % k
    return truth, np.where(rng.random((seeds, n)) < accuracy, truth, wrong)


def compared(truth, groups=None, k=4, **arms):
    groups = np.arange(len(truth)) if groups is None else groups
    return Comparison((Tested.of_classes(truth, groups, arms, k),), k)


def test_the_value_is_the_mean_balanced_accuracy_of_the_seeds():
    truth, named = simulated(np.random.default_rng(0))
    found = compared(truth, real=named).arm("real")
    expected = [balanced_accuracy_score(truth, row) for row in named]
    assert found.by_seed == pytest.approx(tuple(expected))
    assert found.balanced_accuracy.value == pytest.approx(np.mean(expected))
    assert found.balanced_accuracy.low < found.balanced_accuracy.value < found.balanced_accuracy.high
    assert found.weighted_recall.value == pytest.approx(np.mean([accuracy_score(truth, row) for row in named]))


def test_one_seed_against_itself_differs_by_nothing_and_is_not_resolved():
    truth, named = simulated(np.random.default_rng(1), seeds=1)
    same = compared(truth, a=named, b=named).difference("a", "b")
    assert (same.balanced_accuracy.value, same.balanced_accuracy.low, same.balanced_accuracy.high) == (0, 0, 0)
    assert same.balanced_accuracy.error.p_value(0) == 1
    assert same.by_seed == (0,)


def test_swapping_the_arms_turns_the_sign():
    rng = np.random.default_rng(2)
    truth, first = simulated(rng)
    both = compared(truth, a=first, b=simulated(rng)[1])
    there, back = both.difference("a", "b").balanced_accuracy, both.difference("b", "a").balanced_accuracy
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_the_difference_is_that_of_the_arms():
    rng = np.random.default_rng(3)
    truth, first = simulated(rng)
    both = compared(truth, a=first, b=np.where(rng.random((3, 400)) < 0.3, truth, first[[0, 1, 0]]))
    gain = both.arm("b").balanced_accuracy.value - both.arm("a").balanced_accuracy.value
    found = both.difference("b", "a")
    assert found.balanced_accuracy.value == pytest.approx(gain)
    assert found.balanced_accuracy.low > 0
    assert len(found.by_seed) == 2


def test_one_seed_and_images_of_their_own_groups_give_scipys_bootstrap_interval():
    rng = np.random.default_rng(4)
    truth, named = simulated(rng, n=300, seeds=1)
    ours = compared(truth, a=named, b=np.zeros_like(named)).difference("a", "b").balanced_accuracy
    theirs = scipy_bootstrap(
        (truth, named[0]), gain_over_one_class, paired=True, vectorized=False, n_resamples=1000, method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_images_that_err_together_make_the_interval_wider():
    truth, named = simulated(np.random.default_rng(6), n=100, seeds=1)
    alone = compared(truth, real=named).arm("real").balanced_accuracy
    copied = compared(np.tile(truth, 9), np.tile(np.arange(100), 9), real=np.tile(named, 9)).arm("real")
    ignored = compared(np.tile(truth, 9), np.arange(900), real=np.tile(named, 9)).arm("real").balanced_accuracy
    assert (copied.balanced_accuracy.low, copied.balanced_accuracy.high) == pytest.approx((alone.low, alone.high))
    assert length(ignored) < 0.5 * length(alone)


def test_permuted_labels_give_chance():
    rng = np.random.default_rng(8)
    truth, named = simulated(rng, n=2000)
    found = compared(rng.permutation(truth), real=named).arm("real").balanced_accuracy
    assert found.low < 0.25 < found.high


def test_a_class_without_images_is_nan():
    truth, named = np.array([0, 0, 1, 1]), np.array([[0, 0, 1, 0]])
    found = compared(truth, np.array(["a", "a", "b", "c"]), 3, real=named).arm("real")
    assert np.isnan([found.recalls[2].value, found.recalls[2].low, found.recalls[2].high]).all()
    assert found.balanced_accuracy.value == pytest.approx(0.75)
    assert (found.recalls[1].n, found.recalls[1].groups) == (2, 2)


def test_a_class_that_no_seed_of_either_arm_finds_has_an_interval_of_its_few_groups():
    truth, groups = np.repeat([0, 1], [40, 10]), np.concatenate([np.arange(40), 100 + np.arange(10) // 2])
    never = np.zeros((2, 50), dtype=int)
    both = compared(truth, groups, 2, a=never, b=never)
    arm, difference = both.arm("a").recalls[1], both.difference("a", "b").recalls[1]
    assert (arm.value, arm.low) == (0, 0)
    assert arm.high == pytest.approx(0.434, abs=0.002)  # Wilson's bound for 0 of 5
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, -arm.high, arm.high))


def test_a_recall_of_few_groups_has_wilsons_bounds_for_its_effective_number_and_stays_in_zero_to_one():
    truth, groups = np.zeros(20, dtype=int), np.arange(20) // 2
    named = np.repeat([[0] * 9 + [1]], 2, axis=1)
    found = compared(truth, groups, 2, real=named).arm("real").recalls[0]
    assert 0 < found.low < 0.9 < found.high < 1


@pytest.mark.parametrize("deviation", [0.0, 0.08])
def test_seeds_that_lie_further_apart_make_the_interval_wider_by_their_own_arm_alone(deviation):
    rng, truth = np.random.default_rng(9), np.random.default_rng(9).integers(0, 4, 800)
    calm = np.concatenate([of_accuracy(truth, rng, 0.7) for _ in range(3)])
    other = np.concatenate([of_accuracy(truth, rng, 0.7 + shift) for shift in (-deviation, 0, deviation)])
    both = compared(truth, calm=calm, other=other)
    seeds = {name: both.arm(name).balanced_accuracy.error.parts[1].variance for name in ("calm", "other")}
    assert (seeds["other"] > 4 * seeds["calm"]) == (deviation > 0)


def test_arms_of_another_number_of_seeds_in_a_repeat_are_refused():
    truth, named = simulated(np.random.default_rng(1))
    repeats = tuple(Tested.of_classes(truth, truth, {"a": named[:n]}, 4) for n in (1, 2))
    with pytest.raises(ValueError, match="has \\[1, 2\\] seeds in its repeats"):
        Comparison(repeats, 4).arm("a")


def of_accuracy(truth, rng, accuracy):
    wrong = (truth + rng.integers(1, 4, len(truth))) % 4
    return np.where(rng.random(len(truth)) < accuracy, truth, wrong)[None]


def length(found):
    return found.high - found.low


def gain_over_one_class(truth, named):
    return np.mean([(named == k)[truth == k].mean() for k in range(4)]) - 0.25
