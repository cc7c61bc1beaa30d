"""Variance of an arm's classifiers by their seed alone: the randomness that is left once the images are chosen.

A network that is trained once more from another seed gives another balanced accuracy, on few images often by more
than what an arm changes. That variance is a property of the training and not of an arm, so it is estimated from the
seeds of all arms together, which gives an interval more degrees of freedom than the two or three seeds of one arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from classify.metrics import score


@dataclass(frozen=True, kw_only=True)
class SeedVariance:
    """Standard deviations of one classifier's figures about its arm's mean, pooled over the arms."""

    balanced_accuracy: float
    recalls: tuple[float, ...]  # by class; 0 for one without a test image
    rows: int  # sets of predictions: a classifier each, or where folds are pooled one a fold
    freedom: int  # rows less arms, at least 1

    def in_words(self, folds: int = 1) -> str:
        """What it is and how many classifiers it is estimated from, in words."""
        rows = f"{self.rows} classifiers" if folds == 1 else f"{self.rows} sets of {folds} classifiers, one a fold"
        return (
            f"also the classifiers' seeds, by the spread of {rows}: one lies "
            f"{100 * self.balanced_accuracy:.1f} points of balanced accuracy from its arm's mean (standard deviation)"
        )

    def errors(self, share: float, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "{draws} figures"]:
        """Random errors of means over seeds, against infinitely many seeds: balanced accuracy, then recalls.

        Student's t, as the deviations are estimated themselves. `share` is the variance of such a mean as a share of
        one classifier's: 1 / seeds, or the sum of both for a difference of two means.
        """
        deviations = np.array([self.balanced_accuracy, *self.recalls]) * share**0.5
        errors: Float[np.ndarray, "draws figures"] = deviations * rng.standard_t(self.freedom, (draws, 1))
        return errors


def seed_variance_of(
    truth: Int[np.ndarray, " n"], arms: Sequence[Int[np.ndarray, "seeds n"]], n_classes: int
) -> SeedVariance | None:
    """Variance by seed of the arms' predictions of the same images; None where no arm has two seeds."""
    freedom = sum(len(named) - 1 for named in arms)
    if freedom < 1:
        return None
    squares = np.zeros(1 + n_classes)
    for named in arms:
        figures = np.array([_figures(truth, row, n_classes) for row in named])
        squares += np.square(figures - figures.mean(axis=0)).sum(axis=0)
    whole, *recalls = np.sqrt(squares / freedom).tolist()
    rows = sum(len(named) for named in arms)
    return SeedVariance(balanced_accuracy=whole, recalls=tuple(recalls), rows=rows, freedom=freedom)


def _figures(truth: Int[np.ndarray, " n"], named: Int[np.ndarray, " n"], n_classes: int) -> list[float]:
    """Balanced accuracy and recalls; 0 where there is none, which adds no variance."""
    found = score(truth, named, n_classes)
    figures = (found.balanced_accuracy, *(recall.value for recall in found.recalls))
    return [0.0 if math.isnan(figure) else figure for figure in figures]
