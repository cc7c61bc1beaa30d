"""Predictions of a trained classifier, and the ISIC challenge's CSV that holds them.

The seven HAM10000 codes get the challenge's columns in the challenge's order; other data sets their own labels, sorted.

    python -m classify.predict RUN IMAGES [--arm synthetic] [--seed 0] [--out file.csv]
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from classify.device import default_device
from classify.model import CONFIG, load
from classify.views import view_logits
from data.errors import DataError, InputError, exit_code
from data.files.archives import SUFFIXES, image_files
from data.files.rules import FileRules, use_rules
from data.files.unread import unread_in, warn_of_unread
from data.manifest import COLUMNS, Manifest, read_table
from data.pixels import PixelConfig, load_pixels
from data.spreadsheet import csv_text
from data.store import read_json, write_text

ISIC_COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_ROUNDING = 1e-6  # by which a probability may leave [0, 1]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Probabilities of each class for each image, in the manifest's order; the truth and leakage groups where known."""

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]  # sorted
    probabilities: Float[np.ndarray, "n k"]
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    @property
    def predicted(self) -> Int[np.ndarray, " n"]:
        """Number of the most probable class of each image."""
        likeliest: Int[np.ndarray, " n"] = self.probabilities.argmax(axis=1)
        return likeliest

    @property
    def truth(self) -> Int[np.ndarray, " n"]:
        """Number of the true class of each image. Raises DataError where it is not known."""
        if self.labels is None:
            raise DataError("these predictions have no labels; give those of images whose class is known")
        unknown = sorted(set(self.labels) - set(self.classes))
        if unknown:
            raise DataError(f"an image is labelled {unknown[0]!r}, which is none of the classifier's: {self.classes}")
        return np.array([self.classes.index(label) for label in self.labels], dtype=np.int64)

    def write(self, path: Path) -> None:
        """Write the challenge's CSV, atomically."""
        columns = {_column(label, self.classes): k for k, label in enumerate(self.classes)}
        order = ISIC_COLUMNS if _is_isic(self.classes) else tuple(columns)
        shuffled = self.probabilities[:, [columns[name] for name in order]].astype(np.float64)
        table = pd.DataFrame(shuffled, columns=list(order))
        table.insert(0, "image", list(self.image_ids))
        write_text(path, csv_text(table, _cell))

    @staticmethod
    def read(path: Path) -> "Predictions":
        """Read the CSV; every fault names its row and the fix. Raises DataError."""
        table = read_table(path)
        first, *columns = [str(name) for name in table.columns] or [""]
        if first != "image" or len(columns) < 2:  # noqa: PLR2004 - one class is no choice
            raise DataError(
                f"{path}: the header must be `image` and at least two classes, not {','.join(table.columns)}"
            )
        isic = set(columns) == set(ISIC_COLUMNS)
        names = {column: column.lower() if isic else column for column in columns}
        classes = tuple(sorted(names.values()))
        order: list[str] = sorted(columns, key=lambda column: names[column])
        ordered = table[order]
        ids = table["image"]
        for mask, what in ((ids == "", "no image id"), (ids.duplicated(), "an image id that an earlier row has")):
            if mask.any():
                raise DataError(
                    f"{path}: row {int(mask.to_numpy().argmax()) + 2} has {what}; every image needs one row"
                )
        return Predictions(image_ids=tuple(ids), classes=classes, probabilities=_numbers(path, ordered))


def predict(
    model_folder: Path,
    manifest: Manifest,
    pixels: PixelConfig | None = None,
    *,
    cache: Path | None = None,
    batch_size: int | None = None,
) -> Predictions:
    """Predict a manifest's images with a trained classifier, through the pixel path that it was trained on.

    Its own test views are averaged, and its own temperature divides their logits.
    `pixels`, if given, must be that path's settings. Labels and groups are passed on. Raises InputError.
    """
    classifier = load(model_folder)
    if pixels is not None and pixels != classifier.pixels:
        raise InputError(f"{model_folder}: was trained on {classifier.pixels}, not {pixels}; set pixels to the same")
    images = load_pixels(manifest, classifier.pixels, cache)
    if classifier.coder is not None:
        classifier.coder.vae.to(default_device())
        images = classifier.coder(images)
    outputs = view_logits(classifier.network.to(default_device()), images, classifier.test_views, batch_size)
    return Predictions(
        image_ids=tuple(manifest.table["image_id"]),
        classes=classifier.labels,
        probabilities=torch.softmax(outputs / classifier.temperature, dim=1).numpy(),
        labels=tuple(manifest.table["label"]),
        groups=tuple(manifest.table["group_id"]),
    )


def predictions_bytes(images: int, classes: int) -> int:
    """Bytes of one classifier's predictions and of the ids that it records, at most."""
    return images * (300 + 25 * classes)


def find_model(run: Path, arm: str | None = None, seed: int | None = None) -> Path:
    """The model folder in a run folder, an arm's folder or itself; by default of the last arm and first seed."""
    for folder in (run, run / "model"):
        if (folder / CONFIG).is_file():
            return folder
    study, arms = _arms_of(run)
    arm = list(arms)[-1] if arm is None else arm
    if arm not in arms:
        raise InputError(f"{run}: has no arm {arm!r}; give --arm {' or '.join(arms)}")
    key = next(iter(arms[arm])) if seed is None else str(seed)
    if key not in arms[arm]:
        raise InputError(f"{run}: arm {arm!r} has no seed {key}; give --seed {' or '.join(arms[arm])}")
    return study / arms[arm][key] / "model"


def _arms_of(run: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    """A finished run's artefacts' folder, which is the study's for a repeat, and each arm's artefacts by seed."""
    try:
        record = read_json(run / "run.json")
        repeats, is_repeat = record.get("repeats"), record.get("config", {}).get("is_repeat")
        arms: dict[str, dict[str, str]] = {} if repeats else record["artifacts"]["arm"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise InputError(f"{run}: neither a finished run folder nor a classifier's model folder") from fault
    if repeats:
        raise InputError(f"{run}: is a study of several repeats; give the folder of one, e.g. {run / repeats[0]}")
    return run.absolute().parents[1] if is_repeat else run, arms


def folder_of_images(folder: Path) -> Manifest:
    """The images under a folder, sorted by path; their classes are not known. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    paths = [path.relative_to(folder) for path in image_files(folder)]
    warn_of_unread(folder, unread_in(folder), top=True)
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}); give a folder that does")
    stems = Counter(path.stem for path in paths)
    ids = [path.stem if stems[path.stem] == 1 else path.as_posix() for path in paths]
    rows: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    table = pd.DataFrame({**rows, "image_id": ids, "path": [path.as_posix() for path in paths]})
    table = table.assign(root="images", label="unknown", group_id=ids, source="real")
    return Manifest(table, {"images": folder})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="classify.predict", description="Apply a trained classifier to images.")
    parser.add_argument("run", type=Path, help="a run folder or a classifier's model folder")
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("--arm", help="which arm's classifier (default: the last arm's)")
    parser.add_argument("--seed", type=int, help="which classifier seed (default: the first)")
    parser.add_argument("--follow-links", type=Path, action="append", default=[], metavar="FOLDER",
                        help="a folder outside IMAGES into which its links may lead")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="the CSV (default: predictions.csv)")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _applied(parsed))


def _applied(parsed: argparse.Namespace) -> int:
    model = find_model(parsed.run, parsed.arm, parsed.seed)
    use_rules(FileRules(follow_links=tuple(folder.resolve() for folder in parsed.follow_links)))
    found = predict(model, folder_of_images(parsed.images))
    found.write(parsed.out)
    counts = Counter(found.classes[k] for k in found.predicted)
    print(f"{len(found.image_ids)} images classified by {model}")
    for label in found.classes:
        print(f"  {label:>12} {counts[label]:6d}")
    print(f"probabilities: {parsed.out}")
    return 0


def _cell(probability: object) -> str:
    """Nine digits, with a decimal point: the challenge's program refuses a column of whole numbers without one."""
    digits = format(probability, ".9g")
    return digits if set(digits) & set(".en") else f"{digits}.0"


def _is_isic(classes: Sequence[str]) -> bool:
    return {label.upper() for label in classes} == set(ISIC_COLUMNS) and all(label.islower() for label in classes)


def _column(label: str, classes: Sequence[str]) -> str:
    return label.upper() if _is_isic(classes) else label


def _numbers(path: Path, cells: pd.DataFrame) -> Float[np.ndarray, "n k"]:
    numbers = np.full(cells.shape, np.nan)
    for (row, k), cell in np.ndenumerate(cells.to_numpy()):
        try:
            numbers[row, k] = float(cell)
        except ValueError:
            numbers[row, k] = np.nan
        if not -_ROUNDING <= numbers[row, k] <= 1 + _ROUNDING:
            raise DataError(
                f"{path}: row {row + 2}, column {cells.columns[k]} holds {cell!r}; put a probability from 0 to 1 there"
            )
    return numbers


if __name__ == "__main__":
    sys.exit(main())
