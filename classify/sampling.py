"""Which rows a run trains on and their loss weights: each class weighs the same, however many rows it has.

Classes are balanced partly by sampling and partly by loss weights: with weights alone a few images would dominate
single steps of a short run, and with sampling alone an arm that repeats images would equal one that does not. Within a
class, photographs, coded photographs and synthetic images have shares of their own (`classify.mix`).
"""

import math

import numpy as np
from jaxtyping import Float, Int


def draws(
    cells: Int[np.ndarray, " n"], chance: Float[np.ndarray, " cells"], count: int, seed: int
) -> Int[np.ndarray, "{count}"]:
    """The rows that a run trains on, in order: a cell (a class's images of one kind) in proportion to its chance.

    Cells are evenly spread. Within a cell every row comes once before any comes again.
    """
    rng = np.random.default_rng([seed, 0])
    queues: list[list[int]] = [[] for _ in chance]
    due = np.where(chance > 0, rng.random(len(chance)), -np.inf)
    drawn = np.empty(count, dtype=np.int64)
    for i in range(count):
        due += chance
        cell = int(due.argmax())
        due[cell] -= 1
        if not queues[cell]:
            queues[cell] = rng.permutation(np.flatnonzero(cells == cell)).tolist()
        drawn[i] = queues[cell].pop()
    return drawn


def class_chances(counts: Int[np.ndarray, " k"], sampling: float) -> Float[np.ndarray, " k"]:
    """Sampling probability of each class: its count to the power of 1 - `sampling`; 0 for one without images."""
    raised = np.where(counts > 0, np.power(np.maximum(counts, 1).astype(np.float64), 1 - sampling), 0.0)
    chance: Float[np.ndarray, " k"] = raised / raised.sum()
    return chance


def loss_weights(chance: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Each class's loss weight: its sampling probability times it is the same for all classes that have images."""
    share = np.where(chance > 0, 1 / np.count_nonzero(chance), 0.0)
    weights: Float[np.ndarray, " k"] = np.divide(share, chance, out=np.zeros(len(chance)), where=chance > 0)
    return weights


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: linear up over the share `warmup` of the steps, then half a cosine to nearly 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1)))
