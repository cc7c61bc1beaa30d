"""Records of a run's artifacts: training, fine-tunes, external images, and the random split's figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from augment.methods import record as adapter_record
from augment.methods.record import HELD_OUT_TABLE, AdapterRecord
from classify import record as arm_record
from classify.record import ArmRecord
from classify.tested import Tested
from data.errors import InputError
from reports.evaluation import Evaluation
from reports.fidelity import choice
from reports.schema import ArmTraining, ExternalImages, FineTune, HeldOutCurve, RandomSplitScore

if TYPE_CHECKING:
    from pathlib import Path

    from augment.methods.record import HeldOutRecord
    from reports.run_folder import RunFolder

_MOST_LOSSES = 100
_MOST_PREVIEWS = 3
_SETTINGS = ("steps", "guidance_scale", "sampler", "negative_prompt")  # columns of metadata.csv


def arm_training(run: RunFolder, arm: str, seeds: tuple[str, ...]) -> ArmTraining:
    """What an arm's classifiers were trained on."""
    records = [run.record_of(run.artifact("arm", arm, seed), arm_record.FILE, ArmRecord.read) for seed in seeds]
    return ArmTraining(
        counts={label: dict(counts) for label, counts in records[0].images["train"].items()},
        steps=records[0].steps,
        best_steps={seed: record.best_step for seed, record in zip(seeds, records, strict=True)},
        seconds=float(sum(record.seconds for record in records)),
        temperatures={seed: record.temperature for seed, record in zip(seeds, records, strict=True)}
        if run.record["config"]["classifier"].get("calibrate")
        else {},
        validation={seed: record.validation_balanced_accuracy for seed, record in zip(seeds, records, strict=True)},
    )


def finetune(run: RunFolder, label: str) -> FineTune:
    """A class's fine-tune and the images generated with it; a class that has enough images already gets none."""
    folder = run.artifact("finetune", label)
    adapter = run.record_of(folder, adapter_record.RECORD, AdapterRecord.read)
    images = pd.DataFrame()
    if label in run.names("images"):
        images = run.table(run.artifact("images", label), "metadata.csv", ["file_name", *_SETTINGS])
    return FineTune(
        method=adapter.display_name,
        prompt=adapter.prompt,
        shots=len(adapter.provenance.image_ids),
        steps=adapter.steps,
        seconds=float(adapter.seconds),
        losses=_losses(run, folder),
        previews=_some(run.pictures(folder / "previews")),
        images=len(images),
        settings={name.replace("_", " "): str(images[name].iloc[0]) for name in _SETTINGS if len(images)},
        choice=None if adapter.chosen is None else choice(run, folder, adapter.chosen),
        held_out=None if adapter.held_out is None else _held_out(run, folder, adapter.held_out),
        stopped="" if adapter.stopped is None else adapter.stopped.in_words,
        preview_prompt=adapter.config.get("preview_prompt") or "",
    )


def external_images(run: RunFolder, arm: str) -> ExternalImages:
    """What is known of the images that another program made."""
    found = run.json(run.artifact("external", arm), "external.json")
    folders = {entry["name"]: entry["folder"] for entry in run.record["config"]["arms"] if isinstance(entry, dict)}
    return ExternalImages(
        folder=folders[arm],
        images=found["images"],
        different=found["different"],
        seen=None if found["seen"] is None else len(found["seen"]),
        copies_of_train=len({image for image, _ in found["copies_of_train"]}),
        by_hand=found.get("by_hand"),
    )


def random_split_score(run: RunFolder, seeds: tuple[str, ...]) -> RandomSplitScore:
    """The figure that a random split would have reported; each image is its own group, as a random split takes them."""
    found = [run.json(run.artifact("random_split", seed), "random_split.json") for seed in seeds]
    truth, name = found[0]["truth"], "random split"
    classes = tuple(found[0]["classes"])
    tested = Tested.of_classes(
        np.asarray(truth, dtype=np.int64),
        np.arange(len(truth)).astype(np.str_),
        {name: np.stack([np.asarray(one["predicted"], dtype=np.int64) for one in found])},
        len(classes),
    )
    evaluation = Evaluation(repeats=(tested,), classes=classes, seeds=seeds, seeds_vary=False)
    score = replace(
        evaluation.balanced_accuracy(name),
        varied="its test images, each taken as drawn by itself, as one who splits so would take them; the seeds are "
        "averaged, not drawn",
    )
    return RandomSplitScore(balanced_accuracy=score, images=len(truth), leaked=found[0]["leaked"])


def _held_out(run: RunFolder, folder: Path, record: HeldOutRecord) -> HeldOutCurve:
    points = () if record.reason else tuple(_loss_rows(run, folder, HELD_OUT_TABLE))
    return HeldOutCurve(points=points, photographs=record.photographs, origin=record.origin, reason=record.reason)


def _loss_rows(run: RunFolder, folder: Path, name: str) -> list[tuple[int, float]]:
    table = run.table(folder, name, ["step", "loss"])
    try:
        return [(int(step), float(loss)) for step, loss in zip(table["step"], table["loss"], strict=True)]
    except ValueError as fault:
        raise InputError(f"{folder / name}: {fault}; delete its folder and start the run again") from fault


def _losses(run: RunFolder, folder: Path) -> tuple[tuple[int, float], ...]:
    rows = _loss_rows(run, folder, "loss.csv")
    size = max(1, -(-len(rows) // _MOST_LOSSES))
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return tuple((part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts)


def _some(paths: tuple[str, ...]) -> tuple[str, ...]:
    """First, middle and last."""
    if len(paths) <= _MOST_PREVIEWS:
        return paths
    return (paths[0], paths[len(paths) // 2], paths[-1])
