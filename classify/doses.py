"""How many synthetic images a study should add: the dose that the validation part chooses, by the one-standard-error
rule (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3).

The doses of a study are trained alike, so that none is favoured; the rule only says which would be taken, before the
test part is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def one_standard_error(scores: Mapping[float, Sequence[float]]) -> float:
    """The smallest dose whose validation score is within one standard error of the best dose's.

    `scores`: dose -> score by seed, in one order of the seeds for all doses, as the error is that of paired
    differences. With one seed there is no error, and the best dose is chosen. Raises ValueError without a dose, or for
    numbers of seeds that differ.
    """
    table = {dose: np.asarray(scores[dose], dtype=np.float64) for dose in sorted(scores)}
    if not table or len({len(each) for each in table.values()}) != 1:
        raise ValueError(f"give every dose a score for each seed, not {dict(scores)}")
    best = max(table, key=lambda dose: (round(float(table[dose].mean()), 12), -dose))
    return next(dose for dose in table if _is_as_good(table[dose], table[best]))


def _is_as_good(scores: np.ndarray, best: np.ndarray) -> bool:
    behind = best - scores
    error = float(behind.std(ddof=1)) / math.sqrt(len(behind)) if len(behind) > 1 else 0.0
    return float(behind.mean()) <= error + 1e-12
