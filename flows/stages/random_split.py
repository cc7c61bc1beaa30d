"""What a random split of images would have reported: the same classifier, trained and tested on parts that leak.

Its step keeps no model and no image ids or groups beside its predictions, so nothing of it can be paired with an arm.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from classify.config import result_settings
from classify.predict import predict
from classify.train import ArmTask, arm_bytes, arm_checkpoint_bytes, arm_checkpoint_saves, train_arm
from classify.weights import weights_identity
from data.progress import Progress
from data.splits.random_split import random_split
from data.store import write_json
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.steps import DiskUse, Step

RECORD = "random_split.json"


def plan(prepared: Prepared) -> tuple[Step, ...]:
    """A step a seed, where the study asks for it."""
    study = prepared.study
    if not study.random_split:
        return ()
    split = random_split(prepared.split, study.study_seed)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    identities = {name: prepared.images.identity_of(part) for name, part in parts.items()}
    return tuple(_step(prepared, identities, seed) for seed in study.seeds)


def _step(prepared: Prepared, parts: dict[str, str], seed: int) -> Step:
    study = prepared.study
    depends = inputs(
        "random split",
        seed=seed,
        parts=parts,
        pixels=settings(study.pixels),
        classifier=result_settings(study.classifier),
        weights=weights_identity(study.classifier.weights),
    )
    disk = DiskUse(
        kind="random split",
        checkpoint=arm_checkpoint_bytes(prepared.classifier_bytes) + arm_bytes(prepared.classifier_bytes),
        checkpoints=1 + arm_checkpoint_saves(study.classifier),
        pixel_sizes=(study.pixels.size,),
    )
    return Step(
        stage="random split",
        what=f"seed {seed}, not to be believed",
        record=("random_split", str(seed)),
        folder=study.folder / "random-split" / str(seed),
        inputs=depends,
        disk=disk,
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Train the real arm's classifier on the random split, and keep its predictions of the test images."""
    study = plan.prepared.study
    split = random_split(plan.prepared.split, study.study_seed)
    task = ArmTask(arm="random split", seed=int(step.record[-1]), train=split.train, validation=split.validation)
    train_arm(task=task, config=study.classifier, pixels=study.pixels, out=folder, cache=study.cache, progress=progress)
    predictions = predict(folder / "model", split.test, cache=study.cache)
    shutil.rmtree(folder / "model")
    write_json(
        folder / RECORD,
        {
            "classes": predictions.classes,
            "truth": predictions.truth.tolist(),
            "predicted": predictions.predicted.tolist(),
            "leaked": split.leaked,
        },
    )
