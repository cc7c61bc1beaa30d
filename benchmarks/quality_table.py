"""The figures as Markdown: one row a setting, then one a setting and class."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from quality_data import CONTROL, QualityData

from augment.fidelity import Figure, mean
from classify.comparison import Estimate, Estimates
from classify.metrics import Recall, wilson

_SHARES = ("precision", "recall", "density", "coverage")
_LESS = "less the reference"
_COLUMNS = (
    "setting", "images/s", "KID x 1000", _LESS, "Fréchet", *_SHARES, "oracle's recall", "balanced accuracy", _LESS,
)  # fmt: skip
_BY_CLASS = ("setting", "class", "KID x 1000", "Fréchet", *_SHARES, "oracle's recall")
_READING = (
    "± is a standard error, from random halves of both sets; figures are means over the classes. The Fréchet distance "
    "is biased upwards at so few images, recall and coverage downwards: compare rows, not with other figures."
)


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """One class under one setting."""

    setting: str
    label: str
    figures: Mapping[str, Figure]
    oracle_recall: Recall | None  # share that the oracle recognises; None: there is no oracle
    speed: float | None  # images a second


@dataclass(frozen=True, kw_only=True)
class ClassifierResult:
    """The classifiers that were trained on one setting's images."""

    setting: str
    estimate: Estimate  # balanced accuracy
    difference: Estimates  # less the reference's, over the seeds that both have
    seeds: int


def report(
    data: QualityData,
    rows: Sequence[ImageResult],
    classifiers: Sequence[ClassifierResult],
    missing: Mapping[str, str],
    images: int,
) -> str:
    """The tables as Markdown, after what they are computed from."""
    reference = next((row.setting for row in rows if row.setting != CONTROL), CONTROL)
    notes = [
        f"{images} images of each class and setting, the same image seeds and adapters; {data.description}.",
        f"Features: {data.extractor.name}. {_READING}",
        *("Balanced accuracy: intervals hold the test groups and the classifiers' seeds." for _ in classifiers[:1]),
        f"Images a second: {torch.get_num_threads()} threads, torch {version('torch')}, from the first batch's end.",
    ]
    not_measured = [f"Not measured: {name} ({why})." for name, why in missing.items()]
    parts = [*notes, *not_measured, _by_setting(rows, classifiers, reference), _by_class(rows)]
    return "\n\n".join(parts)


def to_rows(rows: Sequence[ImageResult] | Sequence[ClassifierResult]) -> list[dict[str, Any]]:
    """The rows as JSON, a figure as value and standard error."""
    return [{name: _to_json(value) for name, value in vars(row).items()} for row in rows]


def _to_json(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {name: {"value": figure.value, "error": figure.error} for name, figure in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]


def _by_setting(rows: Sequence[ImageResult], classifiers: Sequence[ClassifierResult], reference: str) -> str:
    """Means over the rare classes, each compared with the reference."""
    names = list(dict.fromkeys([*(row.setting for row in rows), *(each.setting for each in classifiers)]))
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
        result = next((each for each in classifiers if each.setting == name), None)
        cells += [_pooled(own), *_accuracy(result, reference)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_class(rows: Sequence[ImageResult]) -> str:
    lines = [
        f"| {' | '.join(_BY_CLASS)} |",
        "|---" * len(_BY_CLASS) + "|",
    ]
    for row in rows:
        cells = [_figure(row.figures["kernel_distance"], 1000, 1), _figure(row.figures["frechet_distance"], 1, 1)]
        cells += [_figure(row.figures[share]) for share in _SHARES]
        lines.append(f"| {row.setting} | {row.label} | {' | '.join(cells)} | {_pooled([row])} |")
    return "\n".join(lines)


def _means(rows: Sequence[ImageResult]) -> dict[str, Figure]:
    return {name: mean([row.figures[name] for row in rows]) for name in rows[0].figures} if rows else {}


def _rate(rows: Sequence[ImageResult]) -> str:
    """Images a second over all classes, which have the same number of images."""
    rates = [row.speed for row in rows if row.speed]
    return f"{len(rates) / np.sum(1 / np.array(rates)):.1f}" if rates else "–"


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


def _pooled(rows: Sequence[ImageResult]) -> str:
    recalls = [row.oracle_recall for row in rows if row.oracle_recall is not None]
    if not recalls:
        return "–"
    pooled = wilson(sum(recall.hits for recall in recalls), sum(recall.n for recall in recalls))
    return f"{pooled.value:.2f} [{pooled.low:.2f}, {pooled.high:.2f}]"


def _accuracy(result: ClassifierResult | None, reference: str) -> list[str]:
    if result is None:
        return ["–", "–"]
    own, less = result.estimate, result.difference.balanced_accuracy
    seeds = f", {result.seeds} seed{'s' if result.seeds > 1 else ''}"
    return [
        f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]{seeds}",
        "–" if result.setting == reference else f"{less.value:+.3f} [{less.low:+.3f}, {less.high:+.3f}]",
    ]
