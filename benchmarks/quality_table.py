"""The figures as Markdown: one row a setting, then one a setting and class."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from quality_ground import CONTROL, Ground

from augment.fidelity import Figure, mean
from classify.comparison import Estimate, Estimates
from classify.metrics import Recall, wilson

_SHARES = ("precision", "recall", "density", "coverage")
_LESS = "less the reference"
_COLUMNS = (
    "setting", "images/s", "KID x 1000", _LESS, "Fréchet", *_SHARES, "judge's recall", "balanced accuracy", _LESS,
)  # fmt: skip
_BY_CLASS = ("setting", "class", "KID x 1000", "Fréchet", *_SHARES, "judge's recall")
_READING = (
    "± is a standard error, from random halves of both sets; figures are means over the classes. The Fréchet distance "
    "is biased upwards at so few images, recall and coverage downwards: compare rows, not with figures from elsewhere."
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One class under one setting."""

    setting: str
    label: str
    figures: Mapping[str, Figure]
    named: Recall | None  # by the judge
    speed: float | None  # images a second


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The classifier that was trained on one setting's images."""

    setting: str
    estimate: Estimate  # balanced accuracy
    difference: Estimates  # less the reference's, over the seeds that both have
    seeds: int


def report(
    ground: Ground, rows: Sequence[Measured], judged: Sequence[Judged], missing: Mapping[str, str], images: int
) -> str:
    """Set out all there is, and say what it rests on."""
    reference = next((row.setting for row in rows if row.setting != CONTROL), CONTROL)
    said = [
        f"{images} images of each class and setting, the same image seeds and adapters; {ground.told}.",
        f"Features: {ground.extractor.name}. {_READING}",
        *(f"Balanced accuracy: {judged[0].estimate.varied}." for _ in judged[:1]),
        f"Images a second: {torch.get_num_threads()} threads, torch {version('torch')}, from the first batch's end.",
    ]
    lost = [f"Not measured: {name} ({why})." for name, why in missing.items()]
    parts = [*said, *lost, _by_setting(rows, judged, reference), _by_class(rows)]
    return "\n\n".join(parts)


def plain(rows: Sequence[Measured] | Sequence[Judged]) -> list[dict[str, Any]]:
    """The rows as JSON, a figure as value and standard error."""
    return [{name: _plain(value) for name, value in vars(row).items()} for row in rows]


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {name: {"value": figure.value, "error": figure.error} for name, figure in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]


def _by_setting(rows: Sequence[Measured], judged: Sequence[Judged], reference: str) -> str:
    """Means over the rare classes, each held against the reference."""
    names = list(dict.fromkeys([*(row.setting for row in rows), *(each.setting for each in judged)]))
    base = _means([row for row in rows if row.setting == reference])
    lines = [
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for name in names:
        own = [row for row in rows if row.setting == name]
        figures = _means(own)
        cells = [_rate(own), *_distances(figures, base if name not in {reference, CONTROL} else {})]
        cells += [_figure(figures.get(share)) for share in _SHARES]
        cells += [_pooled(own), *_accuracy(next((each for each in judged if each.setting == name), None), reference)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_class(rows: Sequence[Measured]) -> str:
    lines = [
        f"| {' | '.join(_BY_CLASS)} |",
        "|---" * len(_BY_CLASS) + "|",
    ]
    for row in rows:
        cells = [_figure(row.figures["kernel_distance"], 1000, 1), _figure(row.figures["frechet_distance"], 1, 1)]
        cells += [_figure(row.figures[share]) for share in _SHARES]
        lines.append(f"| {row.setting} | {row.label} | {' | '.join(cells)} | {_pooled([row])} |")
    return "\n".join(lines)


def _means(rows: Sequence[Measured]) -> dict[str, Figure]:
    return {name: mean([row.figures[name] for row in rows]) for name in rows[0].figures} if rows else {}


def _rate(rows: Sequence[Measured]) -> str:
    """Images a second over all classes, which have equally many images."""
    known = [row.speed for row in rows if row.speed]
    return f"{len(known) / np.sum(1 / np.array(known)):.1f}" if known else "–"


def _distances(figures: Mapping[str, Figure], base: Mapping[str, Figure]) -> list[str]:
    if not figures:
        return ["–", "–", "–"]
    kernel = figures["kernel_distance"]
    less = _figure(kernel.less(base["kernel_distance"]), 1000, 1, "+") if base else "–"
    return [_figure(kernel, 1000, 1), less, _figure(figures["frechet_distance"], 1, 1)]


def _figure(figure: Figure | None, factor: float = 1, digits: int = 2, sign: str = "") -> str:
    if figure is None:
        return "–"
    return f"{factor * figure.value:{sign}.{digits}f} ± {factor * figure.error:.{digits}f}"


def _pooled(rows: Sequence[Measured]) -> str:
    known = [row.named for row in rows if row.named is not None]
    if not known:
        return "–"
    all_of_them = wilson(sum(each.hits for each in known), sum(each.n for each in known))
    return f"{all_of_them.value:.2f} [{all_of_them.low:.2f}, {all_of_them.high:.2f}]"


def _accuracy(judged: Judged | None, reference: str) -> list[str]:
    if judged is None:
        return ["–", "–"]
    own, less = judged.estimate, judged.difference.balanced_accuracy
    seeds = f", {judged.seeds} seed{'s' if judged.seeds > 1 else ''}"
    return [
        f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]{seeds}",
        "–" if judged.setting == reference else f"{less.value:+.3f} [{less.low:+.3f}, {less.high:+.3f}]",
    ]
