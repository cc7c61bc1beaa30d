"""The classifiers: one an arm and seed, each reading the test part once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classify.arms import Arm, compose
from classify.config import result_settings
from classify.predict import predict, predictions_bytes
from classify.train import ArmTask, arm_bytes, arm_checkpoint_bytes, arm_checkpoint_saves, train_arm
from classify.weights import weights_identity, write_model_provenance
from data.manifest import Manifest
from data.progress import Progress
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.provenance import classifier_provenance
from flows.stages import autoencoded, external, images
from flows.steps import DiskUse, Step

_STAGES = {"synthetic": "images", "autoencoded": "autoencoded", "external": "external"}  # that make an arm's images


def plan(prepared: Prepared, added: Sequence[Step]) -> tuple[Step, ...]:
    """A step an arm and seed; `added` are the steps that make images for some arm."""
    study = prepared.study
    return tuple(
        _step(prepared, arm, seed, [step for step in added if _is_for(arm, step)])
        for arm in study.arm_table.values()
        for seed in study.seeds
    )


def _is_for(arm: Arm, step: Step) -> bool:
    """Whether an arm trains on what a step makes; external images are one arm's alone."""
    return step.stage == _STAGES.get(arm.source) and (step.stage != "external" or step.what == arm.name)


def _step(prepared: Prepared, arm: Arm, seed: int, added: Sequence[Step]) -> Step:
    study, identity_of = prepared.study, prepared.images.identity_of
    counts = prepared.fill_counts if arm.source else {}
    depends = inputs(
        "arm",
        arm=arm.name,
        seed=seed,
        train=identity_of(prepared.train),
        validation=identity_of(prepared.split.validation),
        test=identity_of(prepared.split.test),
        filled={label: count for label, count in counts.items() if count},
        added={step.id: step.digest for step in added},
        pixels=settings(study.pixels),
        classifier=result_settings(study.classifier),
        weights=weights_identity(study.classifier.weights),
    )
    return Step(
        stage="arm",
        what=f"{arm.name} {seed}",
        record=("arm", arm.name, str(seed)),
        folder=study.folder / "arm" / f"{arm.name}-{seed}",
        inputs=depends,
        needs=tuple(step.id for step in added),
        disk=_disk(prepared),
    )


def _disk(prepared: Prepared) -> DiskUse:
    study, manifest = prepared.study, prepared.images.manifest
    rows = len(manifest) + sum(prepared.fill_counts.values())
    return DiskUse(
        kind="classifiers",
        kept=arm_bytes(prepared.classifier_bytes) + predictions_bytes(rows, len(manifest.labels)),
        checkpoint=arm_checkpoint_bytes(prepared.classifier_bytes),
        checkpoints=arm_checkpoint_saves(study.classifier),
        pixel_sizes=(study.pixels.size,),
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Train the classifier, write its provenance along its lineage, and predict the test part."""
    prepared, (_, name, seed) = plan.prepared, step.record
    study, arm = prepared.study, prepared.study.arm_table[name]
    if arm.source == "synthetic":
        images.refuse_leaks(plan)  # names the folder at fault; below, whatever else the arm is made of
    seen = classifier_provenance(plan, arm)
    prepared.split.refuse_seen(seen, f"what arm {name} is trained on")
    table = compose(arm, prepared.train, added_images(plan, arm), prepared.fill_counts)
    task = ArmTask(arm=name, seed=int(seed), train=table, validation=prepared.split.validation)
    train_arm(task=task, config=study.classifier, pixels=study.pixels, out=folder, cache=study.cache, progress=progress)
    write_model_provenance(
        folder / "model",
        provenance=seen,
        train=prepared.train,
        validation=prepared.split.validation,
        weights=study.classifier.weights,
    )
    predict(folder / "model", prepared.split.test, cache=study.cache).write(folder / "predictions.csv")


def added_images(plan: Plan, arm: Arm) -> Manifest | None:
    """The images that an arm's rare classes are filled up with; None where it adds none, or repeats real ones."""
    if arm.source == "synthetic":
        return images.read_images(plan)
    if arm.source == "autoencoded":
        return autoencoded.read_images(plan)
    return external.read_images(plan, arm.name) if arm.source == "external" else None
