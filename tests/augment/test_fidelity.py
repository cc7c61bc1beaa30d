import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from augment.fidelity import (
    FIGURES,
    Pair,
    compare,
    compare_distance,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    mean,
    precision,
    recall,
)

RNG = np.random.default_rng(0)
REAL, GENERATED = RNG.normal(size=(60, 8)), RNG.normal(0.4, 1.3, size=(40, 8))
FAR = GENERATED + 1000


def test_a_set_against_itself_has_all_of_its_variety_and_no_distance():
    itself = Pair.of(REAL, REAL)
    assert [figure(itself) for figure in (precision, recall, coverage)] == [1, 1, 1]
    assert frechet_distance(itself) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(itself) < 0  # pairs of an image with itself stand between the sets and not in them


def test_sets_that_share_nothing_have_no_precision_and_no_recall():
    apart = Pair.of(REAL, FAR)
    assert [figure(apart) for figure in (precision, recall, density, coverage)] == [0, 0, 0, 0]
    assert frechet_distance(apart) == pytest.approx(8e6, rel=0.01)


def test_one_image_drawn_again_and_again_is_precise_and_covers_nothing():
    same = Pair.of(REAL, np.repeat(REAL[:1], 40, axis=0))
    assert precision(same) == 1
    assert recall(same) == pytest.approx(1 / 60)
    assert coverage(same) < 0.3


def test_points_on_a_line_by_hand():
    # Every third neighbour is 2 away in the middle and 3 at the ends, every fifth 3 to 5; generated ones lie 100 apart.
    line, generated = np.arange(12.0)[:, None], np.array([[-3.0], [-3.5], *([100.0 * n] for n in range(1, 11))])
    pair = Pair.of(line, generated)
    assert precision(pair) == pytest.approx(1 / 12)  # -3 lies within 3 of 0; -3.5 does not
    assert recall(pair) == 1  # the third neighbour of -3 is 203 away
    assert density(pair) == pytest.approx((2 + 1) / 5 / 12)  # -3 within 5 of 0 and 4 of 1; -3.5 within 5 of 0
    assert coverage(pair) == pytest.approx(2 / 12)


def test_the_kernel_distance_is_the_double_sum_of_its_definition():
    kernel = lambda a, b: polynomial_kernel(a, b, degree=3, gamma=1 / 8, coef0=1)  # noqa: E731
    own = [kernel(a, a) for a in (REAL, GENERATED)]
    expected = sum((k.sum() - np.trace(k)) / len(k) / (len(k) - 1) for k in own) - 2 * kernel(REAL, GENERATED).mean()
    assert kernel_distance(Pair.of(REAL, GENERATED)) == pytest.approx(expected)


def test_the_kernel_distance_of_two_draws_of_one_distribution_is_nothing_on_average():
    found = [kernel_distance(Pair.of(RNG.normal(size=(20, 4)), RNG.normal(size=(20, 4)))) for _ in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(200)


def test_the_frechet_distance_is_that_of_the_covariances():
    gap = REAL.mean(axis=0) - GENERATED.mean(axis=0)
    first, second = np.cov(REAL.T), np.cov(GENERATED.T)
    expected = gap @ gap + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet_distance(Pair.of(REAL, GENERATED)) == pytest.approx(expected)


def test_precision_and_recall_agree_with_a_search_of_neighbours():
    def among(centres, points):
        reach = NearestNeighbors(n_neighbors=4).fit(centres).kneighbors(centres)[0][:, 3]
        return np.mean([(np.linalg.norm(centres - point, axis=1) <= reach).any() for point in points])

    for shift in (0.6, 1.0, 1.4):
        real, generated = RNG.normal(size=(300, 3)), RNG.normal(shift, 0.7, size=(200, 3))
        pair = Pair.of(real, generated)
        assert precision(pair) == pytest.approx(among(real, generated))
        assert recall(pair) == pytest.approx(among(generated, real))
        assert 0.1 < recall(pair) < 0.9


@pytest.mark.parametrize("name", ["kernel_distance", "precision", "recall"])
def test_the_error_is_about_what_new_images_would_bring(name):
    def draw():
        return RNG.normal(size=(60, 4)), RNG.normal(0.5, 1, size=(60, 4))

    errors = [compare(*draw(), halves=40)[name].error for _ in range(15)]
    spread = np.std([FIGURES[name](Pair.of(*draw())) for _ in range(150)])
    assert 0.6 < np.mean(errors) / spread < 1.7


def test_a_difference_is_paired_half_by_half():
    first, second = compare(REAL, GENERATED), compare(REAL, GENERATED + 0.001)
    difference = second["kernel_distance"].less(first["kernel_distance"])
    assert difference.error < 0.1 * first["kernel_distance"].error
    assert difference.value == second["kernel_distance"].value - first["kernel_distance"].value


def test_the_mean_of_two_classes_is_surer_than_either():
    figures = [compare(REAL, GENERATED, seed=seed)["kernel_distance"] for seed in (0, 1)]
    both = mean(figures)
    assert both.value == pytest.approx(figures[0].value)
    assert both.error < 0.9 * figures[0].error


@pytest.mark.parametrize(
    ("generated", "reason"), [(REAL[:5], "12 or more"), (REAL[:, :4], "equal width"), (REAL * np.nan, "not finite")]
)
def test_sets_that_cannot_be_compared_are_refused(generated, reason):
    with pytest.raises(ValueError, match=reason):
        Pair.of(REAL, generated)


def test_the_distance_alone_is_that_of_the_table_and_takes_fewer_images():
    assert compare_distance(REAL, GENERATED).value == kernel_distance(Pair.of(REAL, GENERATED))
    np.testing.assert_allclose(
        compare_distance(REAL, GENERATED, halves=9).halves, compare(REAL, GENERATED, halves=9)["kernel_distance"].halves
    )
    assert compare_distance(REAL[:6], GENERATED[:6], halves=9).error > 0
    with pytest.raises(ValueError, match="6 or more"):
        compare_distance(REAL[:5], GENERATED)
