"""Trains the classifier of one arm and writes it: model/, history.csv and, last, arm.json."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from classify.arms import counts_by_source
from classify.calibration import fit_temperature
from classify.config import ClassifierConfig
from classify.fit import CHECKPOINT, Fitted, Labelled, fit
from classify.mix import CODED, PHOTOGRAPH, SYNTHETIC, Coding
from classify.model import Classifier, save
from classify.record import ArmRecord
from classify.targets import soft_labels
from classify.views import view_logits
from data.coding import Coder
from data.config import to_dict
from data.errors import DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.progress import Progress
from data.store import write_text
from data.training_state import forget_state

_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ArmTask:
    """What one classifier is trained on, and from which seed."""

    arm: str
    seed: int
    train: Manifest  # the arm's table
    validation: Manifest
    is_external: bool = False  # synthetic rows are another program's, which this autoencoder has not decoded
    coded: Manifest | None = None  # photographs of the table passed through the autoencoder, under mixed coding
    coding: Coding = "none"
    coder: Coder | None = None  # of the kept classifier, where all of its images were coded


def train_arm(
    *,
    task: ArmTask,
    config: ClassifierConfig,
    pixels: PixelConfig,
    out: Path,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train a classifier and write it into `out`, continuing from a checkpoint found there.

    Raises DataError for a validation image of a class that train lacks, BaseError for unreadable weights,
    TrainingError for a loss that is not finite.
    """
    started = time.monotonic()
    labels = task.train.labels
    unknown = sorted(set(task.validation.labels) - set(labels))
    if unknown:
        raise DataError(f"the validation part has {unknown[0]!r}, which the train part of arm {task.arm!r} lacks")
    out.mkdir(parents=True, exist_ok=True)
    train = _labelled(task.train, labels, pixels, cache, task.coded, soft=config.soft_labels)
    if task.is_external and task.coding == "mixed":  # as photographs are, beside which coded ones stand
        train = dataclasses.replace(train, kinds=np.where(train.kinds == CODED, CODED, PHOTOGRAPH))
    validation = _labelled(task.validation, labels, pixels, cache)
    try:
        fitted = fit(
            train,
            validation,
            len(labels),
            config,
            seed=task.seed,
            coding=task.coding,
            working=out,
            progress=progress,
        )
    except TrainingError as fault:
        raise TrainingError(f"arm {task.arm!r}, seed {task.seed}: {fault}") from fault
    temperature = _temperature(fitted.network, validation, config)
    classifier = Classifier(
        network=fitted.network,
        labels=labels,
        pixels=pixels,
        coder=task.coder,
        temperature=temperature,
        test_views=config.test_views,
    )
    save(classifier, out / "model")
    _write_history(fitted, out / "history.csv")
    ArmRecord(
        arm=task.arm,
        seed=task.seed,
        labels=labels,
        best_step=fitted.best_step,
        validation_balanced_accuracy=next(
            row.balanced_accuracy for row in fitted.history if row.step == fitted.best_step
        ),
        images={"train": counts_by_source(task.train), "validation": counts_by_source(task.validation)},
        steps=config.steps,
        samples=config.steps * config.batch_size,
        seconds=round(time.monotonic() - started, 2),
        config=to_dict(config),
        temperature=temperature,
    ).write(out)
    forget_state(out / CHECKPOINT)


def arm_bytes(weights: int) -> int:
    """Bytes of a trained classifier on disk, at most; `weights` are the bytes of its tensors."""
    return weights + _MIB // 2


def arm_checkpoint_bytes(weights: int) -> int:
    """Bytes of a checkpoint: weights, their average, the best so far and two moments."""
    return 5 * weights + _MIB


def arm_checkpoint_saves(config: ClassifierConfig) -> int:
    """How many checkpoints a training saves."""
    return (config.steps - 1) // config.validate_every


def _labelled(
    manifest: Manifest,
    labels: tuple[str, ...],
    pixels: PixelConfig,
    cache: Path | None,
    coded: Manifest | None = None,
    *,
    soft: bool = False,
) -> Labelled:
    """Pixels, class numbers, kinds and soft labels of a table's images, and behind them of its coded photographs."""
    whole = manifest if coded is None else Manifest.concat(manifest, coded)
    number = {label: k for k, label in enumerate(labels)}
    kinds = np.where(whole.table["source"] == "synthetic", SYNTHETIC, PHOTOGRAPH)
    kinds[len(manifest) :] = CODED
    return Labelled(
        pixels=load_pixels(whole, pixels, cache),
        classes=np.array([number[label] for label in whole.table["label"]], dtype=np.int64),
        kinds=kinds,
        soft=soft_labels(whole.table, labels) if soft else None,
    )


def _temperature(network: nn.Module, validation: Labelled, config: ClassifierConfig) -> float:
    """The temperature that suits the validation part, where one is asked for."""
    if not config.calibrate:
        return 1.0
    outputs = view_logits(network, validation.pixels, config.test_views)
    return fit_temperature(outputs.numpy(), validation.classes)


def _write_history(fitted: Fitted, path: Path) -> None:
    rows = [f"{row.step},{row.loss:.6g},{row.balanced_accuracy:.6g}" for row in fitted.history]
    write_text(path, "\n".join(["step,loss,validation_balanced_accuracy", *rows]) + "\n")
