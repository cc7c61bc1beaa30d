"""Trains the classifier of one arm and keeps it: model/, history.csv and, written last, arm.json."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from classify.arms import counts_by_source
from classify.config import ClassifierConfig
from classify.fit import CHECKPOINT, Fitted, Labelled, fit
from classify.model import Classifier, save
from data.config import to_dict
from data.errors import DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.store import write_json, write_text


def train_arm(
    arm: str,
    seed: int,
    train: Manifest,
    validation: Manifest,
    pixels: PixelConfig,
    config: ClassifierConfig,
    out: Path,
    cache: Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> None:
    """Train on an arm's table and write what it became into `out`, going on from a checkpoint found there.

    `progress` is told step, steps and loss. Raises DataError for a validation image of a class that train
    lacks, BaseError for unreadable weights, TrainingError for a loss that is no number.
    """
    started = time.monotonic()
    labels = train.labels
    strange = sorted(set(validation.labels) - set(labels))
    if strange:
        raise DataError(f"the validation part has {strange[0]!r}, which the train part of arm {arm!r} lacks")
    out.mkdir(parents=True, exist_ok=True)
    seen, unseen = (_labelled(part, labels, pixels, cache) for part in (train, validation))
    try:
        fitted = fit(seen, unseen, len(labels), config, seed=seed, working=out, progress=progress)
    except TrainingError as fault:
        raise TrainingError(f"arm {arm!r}, seed {seed}: {fault}") from fault
    save(Classifier(network=fitted.network, labels=labels, pixels=pixels), out / "model")
    _write_history(fitted, out / "history.csv")
    write_json(
        out / "arm.json",
        {
            "arm": arm,
            "seed": seed,
            "labels": labels,
            "best_step": fitted.best_step,
            "validation_balanced_accuracy": max(row.balanced_accuracy for row in fitted.history),
            "images": {"train": counts_by_source(train), "validation": counts_by_source(validation)},
            "steps": config.steps,
            "samples": config.steps * config.batch_size,
            "seconds": round(time.monotonic() - started, 2),  # of the last sitting, if it was resumed
            "config": to_dict(config),
        },
    )
    (out / CHECKPOINT).unlink(missing_ok=True)


def _labelled(manifest: Manifest, labels: tuple[str, ...], pixels: PixelConfig, cache: Path | None) -> Labelled:
    number = {label: k for k, label in enumerate(labels)}
    classes = np.array([number[label] for label in manifest.table["label"]], dtype=np.int64)
    return Labelled(pixels=load_pixels(manifest, pixels, cache), classes=classes)


def _write_history(fitted: Fitted, path: Path) -> None:
    rows = [f"{row.step},{row.loss:.6g},{row.balanced_accuracy:.6g}" for row in fitted.history]
    write_text(path, "\n".join(["step,loss,validation_balanced_accuracy", *rows]) + "\n")
