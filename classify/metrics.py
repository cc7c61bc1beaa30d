"""Metrics of predictions: recall by class, its mean (balanced accuracy) and its support-weighted mean.

Classes are numbers 0 to k-1. A class without a test image has no recall: NaN with n = 0, never 1, and the
balanced accuracy is the mean over the classes that have one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.stats import norm


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How many of one class's images were classified correctly, with Wilson's interval for that share."""

    hits: int
    n: int  # images of the class
    value: float  # NaN where n is 0
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The metrics of one set of predictions."""

    n: int  # images
    balanced_accuracy: float  # mean recall of the classes with images
    weighted_recall: float  # share of all images classified correctly
    recalls: tuple[Recall, ...]  # by class
    confusion: Int[np.ndarray, "k k"]  # [truth, prediction]
    without_images: tuple[int, ...]  # classes that have no recall


def score(truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], n_classes: int) -> Scores:
    """Every metric of one set of predictions."""
    confusion = confusion_matrix(truth, predicted, n_classes)
    hits, n = confusion.diagonal(), confusion.sum(axis=1)
    recalls = tuple(wilson(int(right), int(of)) for right, of in zip(hits, n, strict=True))
    return Scores(
        n=int(n.sum()),
        balanced_accuracy=_mean([recall.value for recall in recalls if recall.n]),
        weighted_recall=float(hits.sum() / n.sum()) if n.sum() else float("nan"),
        recalls=recalls,
        confusion=confusion,
        without_images=tuple(int(k) for k in np.flatnonzero(n == 0)),
    )


def balanced_accuracy(truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], n_classes: int) -> float:
    """Mean recall of the classes that have images; NaN if none has."""
    return score(truth, predicted, n_classes).balanced_accuracy


def confusion_matrix(
    truth: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], n_classes: int
) -> Int[np.ndarray, "{n_classes} {n_classes}"]:
    """How many images of each true class (row) were predicted as each class (column)."""
    if truth.shape != predicted.shape:
        raise ValueError(f"{truth.shape[0]} true labels, but {predicted.shape[0]} predictions")
    both = np.concatenate([truth, predicted])
    if both.size and not (both.min() >= 0 and both.max() < n_classes):
        raise ValueError(f"class numbers reach from {both.min()} to {both.max()}, outside 0 to {n_classes - 1}")
    flat = np.bincount(truth.astype(np.int64) * n_classes + predicted, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def wilson(hits: int, n: int, level: float = 0.95) -> Recall:
    """Wilson's score interval (Wilson 1927) for a share; it stays inside [0, 1] and holds for small n."""
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    if n == 0:
        return Recall(hits=0, n=0, value=float("nan"), low=float("nan"), high=float("nan"))
    z = float(norm.ppf((1 + level) / 2))
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    # The ends are exact at 0 and 1; rounding would put them slightly outside.
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return Recall(hits=hits, n=n, value=share, low=low, high=high)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
