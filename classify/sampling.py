"""Which rows a run trains on and their loss weights: each class weighs the same, however many rows it has.

Classes are balanced partly by sampling and partly by loss weights: with weights alone a few images would dominate
single steps of a short run, and with sampling alone an arm that repeats images would equal one that does not.
"""

import math

import numpy as np
from jaxtyping import Float, Int


def draws(
    classes: Int[np.ndarray, " n"], n_classes: int, count: int, sampling: float, seed: int
) -> Int[np.ndarray, "{count}"]:
    """The rows that a run trains on, in order: a class in proportion to its count to the power of 1 - `sampling`.

    Classes are evenly spread. Within a class every row comes once before any comes again.
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
    """Each class's loss weight: its sampling probability times it is the same for all classes that have images."""
    chance = _chances(classes, n_classes, sampling)
    share = np.where(chance > 0, 1 / np.count_nonzero(chance), 0.0)
    weights: Float[np.ndarray, " k"] = np.divide(share, chance, out=np.zeros(n_classes), where=chance > 0)
    return weights


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: linear up over the share `warmup` of the steps, then half a cosine to nearly 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1)))


def _chances(classes: Int[np.ndarray, " n"], n_classes: int, sampling: float) -> Float[np.ndarray, " k"]:
    """Sampling probability of each class; 0 for one without images."""
    counts = np.bincount(classes, minlength=n_classes).astype(np.float64)
    raised = np.where(counts > 0, np.power(counts, 1 - sampling), 0.0)
    chance: Float[np.ndarray, " k"] = raised / raised.sum()
    return chance
