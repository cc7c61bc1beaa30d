"""Calibration by hand and against scikit-learn; a temperature that is known is found."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from classify.calibration import BINS, figures, fit_temperature, resampled_figures

pytestmark = pytest.mark.numerical


def drawn(n=400, k=4, temperature=1.0, seed=0):
    """Classes that are drawn from the softmax of logits divided by a temperature, and those logits."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, k))
    shares = softmax(logits / temperature, axis=1)
    truth = np.array([rng.choice(k, p=row) for row in shares])
    return truth, logits


def test_the_calibration_error_of_two_bins_is_that_by_hand():
    sure = [0.95, 0.05]  # in the last bin: two of three right, gap .95 - 2/3
    unsure = [0.55, 0.45]  # right once of one, gap .45
    truth = np.array([0, 0, 1, 0])
    found = figures(truth, np.array([sure, sure, sure, unsure]))
    assert found["expected_calibration_error"] == pytest.approx((3 * abs(0.95 - 2 / 3) + 0.45) / 4)


def test_a_bin_holds_its_upper_edge():
    edge = 12 / BINS
    apart = figures(np.array([0, 1]), np.array([[edge, 1 - edge], [edge + 1e-6, 1 - edge - 1e-6]]))
    assert apart["expected_calibration_error"] == pytest.approx(0.5, abs=1e-5)  # two bins: .2 and .8 off
    together = figures(np.array([0, 1]), np.array([[edge, 1 - edge], [edge - 1e-6, 1 - edge + 1e-6]]))
    assert together["expected_calibration_error"] == pytest.approx(abs(edge - 0.5), abs=1e-5)


def test_brier_score_and_likelihood_are_scikit_learns():
    truth, logits = drawn()
    shares = softmax(logits, axis=1)
    shares[0] = np.eye(4)[(truth[0] + 1) % 4]  # wholly sure, and wrong
    found = figures(truth, shares)
    assert found["brier_score"] == pytest.approx(brier_score_loss(truth, shares, scale_by_half=False, labels=range(4)))
    assert found["negative_log_likelihood"] == pytest.approx(log_loss(truth, shares, labels=range(4)))


def test_resampled_figures_are_those_of_the_images_that_were_drawn():
    truth, logits = drawn(n=40)
    shares, group = softmax(logits, axis=1), np.arange(40) // 2
    draws = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20), size=5).astype(np.float32)
    found = resampled_figures(truth, shares, group, draws)
    for row, counts in enumerate(draws):
        rows = np.repeat(np.arange(40), counts[group].astype(int))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(
            figures(truth[rows], shares[rows])
        )


def test_without_an_image_nothing_is_defined():
    assert np.isnan(list(figures(np.zeros(0, np.int64), np.zeros((0, 3))).values())).all()
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1.0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_classes_were_drawn_with_is_found(temperature):
    truth, logits = drawn(n=6000, temperature=temperature)
    fitted = fit_temperature(logits, truth)
    assert fitted == pytest.approx(temperature, rel=0.1)
    losses = {t: log_loss(truth, softmax(logits / t, axis=1)) for t in (fitted, 0.97 * fitted, 1.03 * fitted)}
    assert min(losses, key=losses.__getitem__) == fitted


def test_classes_told_apart_without_an_error_leave_the_temperature_finite():
    logits = 5 * np.eye(3)
    assert 0.05 <= fit_temperature(logits, np.arange(3)) < 0.2
