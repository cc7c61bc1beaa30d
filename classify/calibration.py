"""How far probabilities can be believed: expected calibration error, Brier score, and a temperature fitted beside them.

The expected calibration error is that of the likeliest class, in 15 bins of equal width (Guo et al. 2017, eq. 3). It
lies above the true one by chance, the more the fewer images there are; its resampled values lie above it once more.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

BINS = 15
FIGURES = ("expected_calibration_error", "brier_score", "negative_log_likelihood")
_LEAST = float(np.finfo(np.float64).eps)  # probability that a logarithm is taken of; scikit-learn's
_TEMPERATURES = (0.05, 20.0)


def figures(truth: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n k"]) -> dict[str, float]:
    """Each of `FIGURES`; lower is better, NaN where there is no image."""
    every = np.zeros(len(truth), dtype=np.int64)
    found = resampled_figures(truth, probabilities, every, np.ones((1, 1), np.float32))
    return {name: float(values[0]) for name, values in found.items()}


def resampled_figures(
    truth: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n k"],
    group: Int[np.ndarray, " n"],
    draws: Float[np.ndarray, "draws g"],
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Each of `FIGURES` in each resample, in which an image counts as often as its group was drawn."""
    gaps = _gaps(truth, probabilities)
    one_hot = np.eye(probabilities.shape[1])[truth]
    brier = np.square(probabilities - one_hot).sum(axis=1)
    surprise = -np.log(np.clip(probabilities[np.arange(len(truth)), truth], _LEAST, 1.0))
    columns = np.column_stack([gaps, brier, surprise, np.ones(len(truth))])
    by_group = np.zeros((draws.shape[1], columns.shape[1]))
    np.add.at(by_group, group, columns)
    sums = draws.astype(np.float64) @ by_group
    drawn = np.where(sums[:, -1] > 0, sums[:, -1], np.nan)
    values = (np.abs(sums[:, :BINS]).sum(axis=1), sums[:, BINS], sums[:, BINS + 1])
    return {name: value / drawn for name, value in zip(FIGURES, values, strict=True)}


def fit_temperature(logits: Float[np.ndarray, "n k"], truth: Int[np.ndarray, " n"]) -> float:
    """The temperature that gives these images' classes the highest likelihood (Guo et al. 2017, 4.2).

    Kept between 0.05 and 20, where classes that are told apart without an error would send it to 0; 1 for no image.
    """
    if not len(truth):
        return 1.0
    scores = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(truth)), truth]).mean())

    bounds = (np.log(_TEMPERATURES[0]), np.log(_TEMPERATURES[1]))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _gaps(truth: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n bins"]:
    """Whether each image is classified correctly less how sure that is, in the column of its bin; 0 elsewhere.

    A bin holds its upper edge, as in Guo et al. 2017.
    """
    confidence = probabilities.max(axis=1)
    hits = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    column = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.zeros((len(truth), BINS))
    gaps[np.arange(len(truth)), column] = hits - confidence
    return gaps
