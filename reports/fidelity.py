"""How near synthetic images are to unseen photographs, and how a fine-tune's step was chosen, from their records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from data.errors import InputError
from reports.numbers import MINUS, UNDEFINED
from reports.schema import Choice, ClassFidelity, Fidelity, FidelityRow, Interval, Reconstruction, StepFigure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from augment.methods.record import ChosenStep
    from reports.run_folder import RunFolder

SHARES = ("precision", "recall", "density", "coverage")
ROW_NAMES = {"synthetic": "synthetic", "shots": "the shots", "real": "half against half"}


def fidelity(run: RunFolder) -> Fidelity | None:
    """The figures of a run's fidelity steps; None where it has none."""
    if "reconstruction" not in run.record["artifacts"]:
        return None
    coded = run.json(run.artifact("reconstruction"), "reconstruction.json")
    records = {label: run.json(run.artifact("fidelity", label), "fidelity.json") for label in run.names("fidelity")}
    return Fidelity(
        features=next((record["features"] for record in records.values() if record["features"]), ""),
        classes={label: _class(record) for label, record in records.items()},
        size=coded["size"],
        reconstruction={
            label: Reconstruction(images=found["images"], **vars(_interval(found)))
            for label, found in coded["classes"].items()
        },
    )


def pooled_fidelity(found: Sequence[Fidelity | None]) -> Fidelity | None:
    """The figures of several repeats: means of values and of intervals' ends. None where a repeat has none.

    A figure that some repeat lacks is left out.
    """
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    first = known[0]
    return Fidelity(
        features=" / ".join(dict.fromkeys(one.features for one in known)),
        classes={
            label: _pooled_class([one.classes[label] for one in known])
            for label in first.classes
            if all(label in one.classes for one in known)
        },
        size=first.size,
        reconstruction={
            label: Reconstruction(images=own.images, **vars(_mean([one.reconstruction[label] for one in known])))
            for label, own in first.reconstruction.items()
        },
        repeats=len(known),
    )


def choice(run: RunFolder, folder: Path, chosen: ChosenStep) -> Choice:
    """What chose the step of the adapter in this folder."""
    return Choice(
        step=chosen.step,
        reason=chosen.reason,
        points=() if chosen.reason else _points(run, folder),
        images=chosen.images,
        photographs=chosen.held_out,
        origin=chosen.origin,
        features=chosen.features,
    )


def distance(interval: Interval | None) -> str:
    """A kernel distance with its interval, e.g. 1.23 [0.80, 1.66]; a dash where there is none."""
    if interval is None or interval.mean is None or interval.low is None or interval.high is None:
        return UNDEFINED
    mean, low, high = (_signed(value) for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return f"{MINUS}{text}" if value < 0 and float(text) else text


def share(interval: Interval | None) -> str:
    """Precision, recall, density or coverage with two decimals; a dash where there is none."""
    return UNDEFINED if interval is None or interval.mean is None else f"{interval.mean:.2f}"


def verdict(found: ClassFidelity) -> str:
    """What the kernel distance says of synthetic images, beside the range of real ones; "" where it says nothing."""
    rows = [found.rows.get(name) for name in ("synthetic", "real")]  # a class without enough images has none
    made, real = (row.figures.get("kernel_distance") if row else None for row in rows)
    if made is None or real is None or None in (made.low, real.high):
        return ""
    apart = made.low > real.high  # type: ignore[operator]
    return (
        "farther from the photographs than these are from each other"
        if apart
        else "not distinguishable from photographs by the kernel distance"
    )


def too_few(found: ClassFidelity) -> str:
    """Which figures the photographs are too few for; "" where they are enough."""
    if found.drawn[1]:
        return ""
    some = any("kernel_distance" in row.figures for row in found.rows.values())
    return "too few for all but the kernel distance" if some else "too few to compare with"


def curve(choice: Choice, title: str) -> Markup:
    """Kernel distance by step with one standard error on either side; the kept step is a filled circle."""
    points = choice.points
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return Markup("")
    low = min(point.kernel_distance - point.error for point in points)
    high = max(point.kernel_distance + point.error for point in points)
    first, last, span = points[0].step, points[-1].step, (high - low) or 1.0

    def x(step: int) -> str:
        return f"{2 + 96 * (step - first) / (last - first):.2f}%"

    def y(value: float) -> str:
        return f"{72 - 64 * (value - low) / span:.1f}"

    bars = [
        Markup('<line class="interval" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
            x(p.step), y(p.kernel_distance - p.error), y(p.kernel_distance + p.error)
        )
        for p in points
    ]
    marks = [
        Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
            "mark" if p.step == choice.step else "step",
            x(p.step),
            y(p.kernel_distance),
            6 if p.step == choice.step else 3,
        )
        for p in points
    ]
    return Markup(
        '<svg class="strip choice tone-synthetic" width="100%" height="80" role="img" aria-label="{}"><title>{}</title>'
        "{}</svg>"
    ).format(title, title, Markup("").join([*bars, *marks]))


def _pooled_class(found: Sequence[ClassFidelity]) -> ClassFidelity:
    rows = {
        name: FidelityRow(
            images=round(sum(one.rows[name].images for one in found) / len(found)),
            figures={
                figure: _mean([one.rows[name].figures[figure] for one in found])
                for figure in row.figures
                if all(figure in one.rows[name].figures for one in found)
            },
        )
        for name, row in found[0].rows.items()
        if all(name in one.rows for one in found)
    }
    drawn = min(one.drawn for one in found)
    return ClassFidelity(photographs=min(one.photographs for one in found), drawn=drawn, rows=rows)


def _mean(intervals: Sequence[Interval]) -> Interval:
    def of(ends: Iterable[float | None]) -> float:
        return sum(end or 0.0 for end in ends) / len(intervals)

    return Interval(
        mean=of(one.mean for one in intervals),
        low=of(one.low for one in intervals),
        high=of(one.high for one in intervals),
    )


def _class(record: Mapping[str, Any]) -> ClassFidelity:
    drawn: Sequence[int] = record.get("drawn", (0, 0))
    rows = {name: _row(row) for name, row in record["rows"].items()}
    return ClassFidelity(photographs=record["photographs"], drawn=(drawn[0], drawn[1]), rows=rows)


def _row(row: Mapping[str, Any]) -> FidelityRow:
    return FidelityRow(images=row["images"], figures={name: _interval(found) for name, found in row["figures"].items()})


def _interval(found: Mapping[str, float]) -> Interval:
    return Interval(mean=found["value"], low=found["low"], high=found["high"])


def _points(run: RunFolder, folder: Path) -> tuple[StepFigure, ...]:
    table = run.table(folder, "choice.csv", ["step", "kernel_distance", "standard_error", "kept"])
    try:
        rows = [
            StepFigure(step=int(step), kernel_distance=float(value), error=float(error), kept=kept == "1")
            for step, value, error, kept in zip(
                table["step"], table["kernel_distance"], table["standard_error"], table["kept"], strict=True
            )
        ]
    except ValueError as fault:
        raise InputError(f"{folder / 'choice.csv'}: {fault}; delete its folder and start the run again") from fault
    if not all(math.isfinite(row.kernel_distance + row.error) for row in rows):
        raise InputError(f"{folder / 'choice.csv'}: is not finite; delete its folder and start the run again")
    return tuple(rows)
