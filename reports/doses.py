"""The dose of synthetic images that the validation part chooses: the report's part of `classify.doses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classify.doses import one_standard_error
from reports.arms import arms_of
from reports.schema import Doses

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reports.schema import ArmTraining

_LEAST = 2  # doses, besides none


def doses_of(training: Mapping[str, ArmTraining], external: Collection[str] = ()) -> Doses | None:
    """Doses in rising order, from none (arm `real`), and the one that is chosen. None for fewer than two doses."""
    arms = arms_of(tuple(training), external)
    named = {arm.dose: name for name, arm in arms.items() if arm.dose is not None}
    if len(named) < _LEAST or any(not training[name].validation for name in ("real", *named.values())):
        return None
    named = {0.0: "real", **dict(sorted(named.items()))}
    scores = {dose: list(training[name].validation.values()) for dose, name in named.items()}
    return Doses(
        validation={named[dose]: float(np.mean(each)) for dose, each in scores.items()},
        chosen=named[one_standard_error(scores)],
    )
