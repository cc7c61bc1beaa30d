"""Which rows a run sees and how much they weigh: each class the same in the loss, however many rows it has.

Rare classes are evened out partly by drawing them more often and partly by weight: weights alone make a few images
shake a short run, and drawing alone would make an arm that repeats images the same as one that does not.
"""

import math

import numpy as np
from jaxtyping import Float, Int


def draws(
    classes: Int[np.ndarray, " n"], n_classes: int, count: int, sampling: float, seed: int
) -> Int[np.ndarray, "{count}"]:
    """Say which rows a run sees, in order: a class as often as its share to the power of 1 - `sampling`, evenly spread.

    Within a class every row comes once before any comes again.
    """
    rng = np.random.default_rng([seed, 0])
    chance = _chances(classes, n_classes, sampling)
    queues: list[list[int]] = [[] for _ in range(n_classes)]
    due = np.where(chance > 0, rng.random(n_classes), -np.inf)
    drawn = np.empty(count, dtype=np.int64)
    for i in range(count):
        due += chance
        label = int(due.argmax())
        due[label] -= 1
        if not queues[label]:
            queues[label] = rng.permutation(np.flatnonzero(classes == label)).tolist()
        drawn[i] = queues[label].pop()
    return drawn


def loss_weights(classes: Int[np.ndarray, " n"], n_classes: int, sampling: float) -> Float[np.ndarray, "{n_classes}"]:
    """Weigh each class so that chance of being drawn times weight is the same for all that have images."""
    chance = _chances(classes, n_classes, sampling)
    share = np.where(chance > 0, 1 / np.count_nonzero(chance), 0.0)
    weights: Float[np.ndarray, " k"] = np.divide(share, chance, out=np.zeros(n_classes), where=chance > 0)
    return weights


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """Rise in a line over the first share of the steps, then fall along half a cosine to nearly 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1)))


def _chances(classes: Int[np.ndarray, " n"], n_classes: int, sampling: float) -> Float[np.ndarray, " k"]:
    """Say how likely a draw is of each class; 0 for one without images."""
    counts = np.bincount(classes, minlength=n_classes).astype(np.float64)
    raised = np.where(counts > 0, np.power(counts, 1 - sampling), 0.0)
    chance: Float[np.ndarray, " k"] = raised / raised.sum()
    return chance
