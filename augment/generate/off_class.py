"""Is a synthetic image of its class? A classifier of the train part's photographs says how probable that is.

Logistic regression on the features of a frozen network, which the caller brings. An image is off its class where the
classifier gives its class less than it gives to nearly all photographs of that class which it was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

LOST = 0.05  # share of a class's own photographs that lie below its limit, at most, or one of them
_FOLDS = 5  # at most; a class with fewer leakage groups has as many
_WIDTH = 64  # principal components of the features, at most
_FEWEST = 10  # photographs of a class, for a limit
_FEWEST_GROUPS = 2  # of each class, for two folds


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Classifiers of photographs, one a fold, and what each says of the photographs that it was not trained on."""

    classes: tuple[str, ...]
    models: tuple[Pipeline, ...]
    labels: NDArray[np.str_]  # of the photographs
    probabilities: Float[np.ndarray, "n classes"]  # of the photographs, out of fold

    @staticmethod
    def fit(
        features: Float[np.ndarray, "n width"], labels: NDArray[np.str_], groups: NDArray[np.str_], seed: int = 0
    ) -> OutOfFold | None:
        """Fit on photographs, no leakage group on both sides of a fold; None where some class has only one group."""
        classes = tuple(sorted(set(labels.tolist())))
        fewest = min((len(set(groups[labels == label].tolist())) for label in classes), default=0)
        if len(classes) < 2 or fewest < _FEWEST_GROUPS:  # noqa: PLR2004 - there is nothing to tell apart
            return None
        found, models = np.zeros((len(labels), len(classes))), []
        folds = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed)
        for train, held in folds.split(features, labels, groups):
            models.append(_classifier(features[train]).fit(features[train], labels[train]))
            found[held] = _probabilities(models[-1], features[held], classes)
        return OutOfFold(classes=classes, models=tuple(models), labels=labels, probabilities=found)

    def predict(self, features: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n classes"]:
        """Probabilities of other images, the mean over the folds' classifiers."""
        found = [_probabilities(model, features, self.classes) for model in self.models]
        mean: Float[np.ndarray, "n classes"] = np.mean(found, axis=0)
        return mean

    def own(self, label: str) -> Float[np.ndarray, " n"]:
        """Out of fold, the probability of their class for the photographs of one class."""
        found: Float[np.ndarray, " n"] = self.probabilities[self.labels == label, self.classes.index(label)]
        return found

    def limit(self, label: str) -> float:
        """The probability of its class below which an image counts as off it; 0 where photographs show no limit.

        That is so for few photographs, and for a class that the classifiers find no more often than by chance.
        """
        own = np.sort(self.own(label))
        if len(own) < _FEWEST or self.recalls()[label] <= 1 / len(self.classes):
            return 0.0
        return float(own[max(0, int(LOST * (len(own) + 1)) - 1)])

    def recalls(self) -> dict[str, float]:
        """Share of each class's photographs whose class it predicts, out of fold."""
        predicted = np.asarray(self.classes)[self.probabilities.argmax(axis=1)]
        return {label: float((predicted[self.labels == label] == label).mean()) for label in self.classes}


def _classifier(features: Float[np.ndarray, "n width"]) -> Pipeline:
    width = min(_WIDTH, *features.shape)
    regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000, tol=1e-3)
    return make_pipeline(StandardScaler(), PCA(width, random_state=0), StandardScaler(), regression)


def _probabilities(
    model: Pipeline, features: Float[np.ndarray, "n width"], classes: Sequence[str]
) -> Float[np.ndarray, "n classes"]:
    """In the order of `classes`; 0 for one that the fold's training lacks."""
    found = np.zeros((len(features), len(classes)))
    found[:, [classes.index(label) for label in model.classes_.tolist()]] = model.predict_proba(features)
    return found
