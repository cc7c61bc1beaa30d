"""What synthetic images are worth in photographs: the report's part of `classify.worth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classify.arms import ARMS
from classify.tested import BALANCED, FIRST_RECALL
from classify.worth import worth
from reports.arms import arms_of
from reports.schema import Curve, Place, Worth

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from classify.arms import Arm
    from classify.worth import Worth as Found
    from reports.evaluation import Evaluation
    from reports.schema import ArmTraining

_LEAST = 2  # numbers of photographs that make a curve


def curve_of(
    evaluation: Evaluation, training: Mapping[str, ArmTraining], rare: Sequence[str], external: Collection[str]
) -> Curve | None:
    """The curve of the arms of real images alone, and the place of each arm with generated ones on it.

    None where fewer than two numbers of photographs were trained on, or a class has no test image.
    """
    arms = arms_of(evaluation.arms, external)
    photographs = {name: photographs_of(training[name], rare) for name, arm in arms.items() if is_on_curve(arm)}
    generated = [name for name, arm in arms.items() if arm.is_generated]
    if not _makes_curve(photographs) or not generated or evaluation.without_images:
        return None
    comparison, numbers = evaluation.comparison, {label: k for k, label in enumerate(evaluation.classes)}
    found = {name: worth(comparison, photographs, name, BALANCED) for name in generated}
    of_class = {label: own for label in rare if _makes_curve(own := _of_class(training, photographs, label))}
    ordered = dict(sorted(photographs.items(), key=lambda each: each[1]))
    risen = dict(found[generated[0]].curve)
    return Curve(
        photographs=ordered,
        risen={name: risen[number] for name, number in ordered.items()},
        worths=tuple(
            Worth(
                arm=name,
                photographs=photographs_of(training[name], rare),
                place=_place(found[name]),
                by_class={
                    label: _place(worth(comparison, own, name, FIRST_RECALL + numbers[label]))
                    for label, own in of_class.items()
                },
            )
            for name in generated
        ),
    )


def is_on_curve(arm: Arm) -> bool:
    """Whether the arm has real images alone and differs from *real* in their number only."""
    return arm.photographs is not None or arm == ARMS["real"]


def photographs_of(training: ArmTraining, rare: Sequence[str]) -> float:
    """Photographs of a rare class that the arm trains on, on average over the rare classes."""
    return sum(training.counts[label]["real"] for label in rare) / max(1, len(rare))


def _makes_curve(photographs: Mapping[str, float]) -> bool:
    return len(set(photographs.values())) >= _LEAST


def _of_class(training: Mapping[str, ArmTraining], arms: Iterable[str], label: str) -> dict[str, float]:
    """Photographs of this class in each arm of the curve."""
    return {name: float(training[name].counts[label]["real"]) for name in arms}


def _place(found: Found) -> Place:
    return Place(
        value=found.value,
        low=found.low,
        high=found.high,
        is_below=found.is_below,
        low_is_above=found.low_is_above,
        high_is_below=found.high_is_below,
    )
