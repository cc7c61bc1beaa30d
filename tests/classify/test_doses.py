"""Which dose the one-standard-error rule takes."""

import pytest

from classify.doses import one_standard_error


def test_the_smallest_dose_within_one_standard_error_is_taken():
    assert one_standard_error({0: [0.50, 0.52], 1: [0.59, 0.61], 5: [0.61, 0.60]}) == 1


def test_seeds_are_paired_so_that_their_common_spread_does_not_hide_a_gain():
    assert one_standard_error({1: [0.50, 0.60, 0.70], 2: [0.54, 0.64, 0.75]}) == 2


def test_more_images_that_bring_nothing_are_not_taken():
    assert one_standard_error({0: [0.6], 1: [0.6], 2: [0.6]}) == 0


def test_with_one_seed_the_best_is_taken():
    assert one_standard_error({5: [0.7], 0: [0.6], 1: [0.69]}) == 5


@pytest.mark.parametrize("scores", [{}, {1: [0.5], 2: [0.5, 0.6]}])
def test_scores_that_cannot_be_compared_are_refused(scores):
    with pytest.raises(ValueError, match="for each seed"):
        one_standard_error(scores)
