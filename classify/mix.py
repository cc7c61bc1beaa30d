"""How a class's photographs, coded photographs and synthetic images are mixed in training.

Generated images come out of an autoencoder's decoder, whose trace a classifier can tell from a photograph's detail. If
only rare classes held decoded images, the trace would be a sign of a rare class. With `coding: mixed` photographs of
every class are therefore shown as they are or passed through the same autoencoder ("coded"), so often that the share
of decoded images is the same in every class: the trace tells nothing of the class. It is the same in every arm too, but
for one that shows rare classes as synthetic images alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from classify.config import ClassifierConfig
from classify.sampling import class_chances, loss_weights

Coding = Literal["mixed", "all", "none"]
PHOTOGRAPH, CODED, SYNTHETIC = range(3)  # kinds of images
KINDS = 3
HALF = 0.5  # share of decoded images under mixed coding, unless synthetic images alone have a larger one


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What one phase of a training shows, by class and kind; a cell is class times `KINDS` plus kind."""

    chance: Float[np.ndarray, " cells"]  # of a draw
    weights: Float[np.ndarray, " cells"]  # of its loss


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a training with the same shares."""

    steps: int
    decoded: float  # share of decoded images in every class
    drawn: float | None  # share of synthetic images among the draws of a class that has some


def phases(config: ClassifierConfig, coding: Coding) -> list[Phase]:
    """One phase, or with `synthetic_first` two: first synthetic images in place of photographs, then none.

    Under mixed coding everything is decoded in the first of the two, and nothing in the second.
    """
    first = round(config.synthetic_first * config.steps)
    if not first:
        return [Phase(steps=config.steps, decoded=decoded_share(coding, config), drawn=config.synthetic_draws)]
    decoded = 1.0 if coding == "mixed" else 0.0
    return [Phase(steps=first, decoded=decoded, drawn=1.0), Phase(steps=config.steps - first, decoded=0.0, drawn=0.0)]


def cells_of(classes: Int[np.ndarray, " n"], kinds: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The cell of each row."""
    cells: Int[np.ndarray, " n"] = classes * KINDS + kinds
    return cells


def decoded_share(coding: Coding, config: ClassifierConfig) -> float:
    """Share of decoded images in every class; 0 where photographs are never coded."""
    return max(HALF, config.synthetic_draws or HALF) if coding == "mixed" else 0.0


def shares(
    counts: Int[np.ndarray, "k kinds"], *, sampling: float, decoded: float, drawn: float | None, loss: float | None
) -> Shares:
    """Chances and loss weights of the cells.

    `counts` are rows by class and kind. `decoded` is the share of decoded images in every class, raised to that of the
    class whose synthetic images alone have more (0: nothing is coded on purpose), `drawn` that of synthetic images
    among the draws of a class that has some (None: by their number), `loss` the share of such a class's loss that they
    carry (None: as they are drawn).
    """
    rows = counts[:, PHOTOGRAPH] + counts[:, SYNTHETIC]  # a coded photograph is no further image
    of_class = class_chances(rows, sampling)
    made = np.array([_made(row, drawn) for row in counts])
    if decoded:
        decoded = max(decoded, float(made.max()))
    within = np.array([_within(row, own, decoded) for row, own in zip(counts, made, strict=True)])
    weights = np.repeat(loss_weights(of_class)[:, None], KINDS, axis=1)
    if loss is not None:
        weights = weights * np.array([_reweighted(row, loss, drawn, decoded) for row in within])
    return Shares(chance=(of_class[:, None] * within).ravel(), weights=weights.ravel())


def _made(counts: Int[np.ndarray, " kinds"], drawn: float | None) -> float:
    """Share of synthetic images among a class's draws."""
    photographs, _, synthetic = counts.tolist()
    if not synthetic or not photographs:
        return float(synthetic > 0)
    return synthetic / (photographs + synthetic) if drawn is None else drawn


def _within(counts: Int[np.ndarray, " kinds"], made: float, decoded: float) -> Float[np.ndarray, " kinds"]:
    """Shares of a class's draws by kind; they add up to 1. `made` is that of synthetic images."""
    recoded = max(0.0, decoded - made) if counts[CODED] else 0.0
    return np.array([1.0 - made - recoded, recoded, made])


def _reweighted(
    within: Float[np.ndarray, " kinds"], loss: float, drawn: float | None, decoded: float
) -> Float[np.ndarray, " kinds"]:
    """Factors that give synthetic images this share of their class's loss, and leave the class's sum as it is.

    Decoded images of classes without synthetic ones get the share that those of the others then have.
    """
    _, recoded, made = within.tolist()
    if 0 < made < 1:
        return np.array([(1 - loss) / (1 - made)] * 2 + [loss / made])
    if made or drawn is None or not 0 < recoded < 1:
        return np.ones(KINDS)
    share = loss + (1 - loss) * max(0.0, decoded - drawn) / (1 - drawn)
    return np.array([(1 - share) / (1 - recoded), share / recoded, 1.0])
