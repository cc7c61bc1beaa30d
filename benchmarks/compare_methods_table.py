"""The figures of the methods as Markdown, and a sheet of their images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from quality_table import ClassifierResult

from augment.fidelity import Figure, mean
from augment.generate.mark import stamped
from classify.metrics import Recall, wilson
from data.manifest import Manifest
from data.pixels import load_pixels
from flows.study import StudyConfig

_SHARES = ("precision", "recall", "coverage")
_COLUMNS = (
    "method", "recognised", "KID x 1000", *_SHARES, "copies", "training, s", "images/s", "MB a class",
    "balanced accuracy", "less the first",
)  # fmt: skip
_SHOWN, _TITLE = 8, 168  # images a row of a sheet, and pixels of its title


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One class by one method."""

    name: str
    label: str
    figures: Mapping[str, Figure]
    recognised: Recall | None  # by the oracle; None: there is none
    copies: int  # images above the gate's limit
    images: Manifest  # those that were compared
    seconds: float | None = None  # of training; None: nothing was trained
    size: int | None = None  # bytes of the adapter
    speed: float | None = None  # images a second

    def to_record(self) -> dict[str, Any]:
        """Plain JSON, a figure as value and standard error."""
        figures = {name: {"value": found.value, "error": found.error} for name, found in self.figures.items()}
        recall = None if self.recognised is None else vars(self.recognised)
        return {**vars(self), "images": len(self.images), "figures": figures, "recognised": recall}


def table(rows: Sequence[MethodResult], classifiers: Sequence[ClassifierResult]) -> str:
    """One row a method, over all classes; the same images' figures by class are in the JSON."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    results = {found.setting: found for found in classifiers}
    for name in dict.fromkeys([*(row.name for row in rows), *results]):
        own = [row for row in rows if row.name == name]
        lines.append(f"| {name} | {' | '.join([*_of_images(own), *_of_classifiers(results.get(name))])} |")
    return "\n".join(lines)


def _of_images(rows: Sequence[MethodResult]) -> list[str]:
    if not rows:
        return ["–"] * (len(_COLUMNS) - 3)
    found = {name: mean([row.figures[name] for row in rows]) for name in rows[0].figures}
    recalls = [row.recognised for row in rows if row.recognised is not None]
    whole = wilson(sum(each.hits for each in recalls), sum(each.n for each in recalls)) if recalls else None
    seconds = [row.seconds for row in rows if row.seconds is not None]
    sizes = [row.size for row in rows if row.size is not None]
    speeds = [1 / row.speed for row in rows if row.speed]
    return [
        f"{whole.value:.2f} [{whole.low:.2f}, {whole.high:.2f}]" if whole else "–",
        _figure(found["kernel_distance"], 1000, 1),
        *(_figure(found[name]) for name in _SHARES),
        f"{sum(row.copies for row in rows)} of {sum(len(row.images) for row in rows)}",
        f"{sum(seconds):.0f}" if seconds else "–",
        f"{len(speeds) / sum(speeds):.1f}" if speeds else "–",
        f"{max(sizes) / 1e6:.2f}" if sizes else "–",
    ]


def _of_classifiers(found: ClassifierResult | None) -> list[str]:
    if found is None:
        return ["–", "–"]
    own, less = found.estimate, found.difference.balanced_accuracy
    difference = f"{100 * less.value:+.1f} [{100 * less.low:+.1f}, {100 * less.high:+.1f}]" if less.error else "–"
    return [f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]", difference]


def _figure(found: Figure, factor: float = 1, digits: int = 2) -> str:
    return f"{factor * found.value:.{digits}f} ± {factor * found.error:.{digits}f}"


def write_sheet(path: Path, real: Manifest, made: Mapping[str, Manifest], study: StudyConfig) -> None:
    """A row of real images, then one a method, its title at the left; synthetic ones are marked."""
    rows = {"real": real, **made}
    height = 2 * study.pixels.size
    sheet = Image.new("RGB", (_TITLE + _SHOWN * height, len(rows) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, images) in enumerate(rows.items()):
        draw.text((8, number * height + height // 2 - 8), name, fill="black", font_size=16)
        first = Manifest(images.table.head(_SHOWN).reset_index(drop=True), images.roots)
        for column, pixels in enumerate(load_pixels(first, study.pixels, study.cache)):
            shown = pixels if name == "real" else stamped(pixels)
            tile = Image.fromarray(np.asarray(shown)).resize((height, height), Image.Resampling.LANCZOS)
            sheet.paste(tile, (_TITLE + column * height, number * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
