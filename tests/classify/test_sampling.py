from itertools import pairwise

import numpy as np
import pytest

from classify.sampling import class_chances, draws, learning_rate_share, loss_weights

CLASSES = np.repeat([0, 1, 2], [60, 12, 3])


def chances(classes, n_classes, sampling):
    return class_chances(np.bincount(classes, minlength=n_classes), sampling)


def drawn(classes, n_classes, count, sampling, seed):
    """Rows, where every class is a cell of its own."""
    return draws(classes, chances(classes, n_classes, sampling), count, seed)


def weights(classes, n_classes, sampling):
    return loss_weights(chances(classes, n_classes, sampling))


@pytest.mark.parametrize("sampling", [0.0, 0.5, 1.0])
def test_each_class_weighs_the_same_in_the_loss(sampling):
    seen = CLASSES[drawn(CLASSES, 3, 30_000, sampling, seed=0)]
    share = np.bincount(seen, weights=weights(CLASSES, 3, sampling)[seen], minlength=3) / len(seen)
    assert share == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_the_ends_of_sampling_are_plain_rows_and_even_classes():
    assert weights(CLASSES, 3, 0.0) == pytest.approx(25 / np.array([60, 12, 3]))
    assert weights(CLASSES, 3, 1.0) == pytest.approx([1, 1, 1])
    assert np.bincount(CLASSES[drawn(CLASSES, 3, 75, 0.0, seed=1)]).tolist() == pytest.approx([60, 12, 3], abs=1)


def test_repeating_rare_rows_changes_no_class_weight_in_the_loss():
    repeated = np.repeat([0, 1, 2], [60, 12, 12])
    seen = repeated[drawn(repeated, 3, 30_000, 0.5, seed=0)]
    share = np.bincount(seen, weights=weights(repeated, 3, 0.5)[seen]) / len(seen)
    assert share == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_every_row_of_a_class_comes_before_one_comes_again():
    seen = drawn(CLASSES, 3, 600, 0.5, seed=2)
    for label in range(3):
        rows = np.bincount(seen[CLASSES[seen] == label], minlength=len(CLASSES))[label == CLASSES]
        assert rows.max() - rows.min() <= 1


def test_draws_follow_the_seed():
    assert drawn(CLASSES, 3, 100, 0.5, seed=1).tolist() == drawn(CLASSES, 3, 100, 0.5, seed=1).tolist()
    assert drawn(CLASSES, 3, 100, 0.5, seed=1).tolist() != drawn(CLASSES, 3, 100, 0.5, seed=2).tolist()


def test_a_class_without_images_is_not_drawn_and_weighs_nothing():
    assert set(np.unique(CLASSES[drawn(CLASSES, 4, 200, 1.0, seed=0)])) == {0, 1, 2}
    assert weights(CLASSES, 4, 1.0).tolist() == pytest.approx([1, 1, 1, 0])


def test_a_cell_of_no_chance_is_never_drawn_and_the_others_are_evenly_spread():
    seen = CLASSES[draws(CLASSES, np.array([0.75, 0.0, 0.25]), 400, seed=4)]
    assert np.bincount(seen, minlength=3).tolist() == pytest.approx([300, 0, 100], abs=1)
    assert all(2 <= np.count_nonzero(seen[start : start + 4] == 0) <= 4 for start in range(0, 400, 4))


def test_the_learning_rate_rises_then_falls():
    shares = [learning_rate_share(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert all(later < earlier for earlier, later in pairwise(shares[9:]))
    assert 0 < shares[-1] < 0.001
