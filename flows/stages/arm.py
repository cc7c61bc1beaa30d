"""The classifiers: one an arm and seed, each reading the test part once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from augment.base.load import load_base
from augment.generate.autoencoded import LINEAGE
from classify.arms import Arm, compose
from classify.config import ClassifierConfig, result_settings
from classify.predict import predict, predictions_bytes
from classify.train import ArmTask, arm_bytes, arm_checkpoint_bytes, arm_checkpoint_saves, train_arm
from classify.weights import weights_identity, write_model_provenance
from data.coding import Coder
from data.manifest import Manifest
from data.progress import Progress
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.provenance import classifier_provenance
from flows.stages import autoencoded, external, gate, images
from flows.stages.probe import write_probe
from flows.steps import DiskUse, Step
from flows.study import StudyConfig

_STAGES = {"synthetic": "images", "autoencoded": "autoencoded", "external": "external"}  # that make an arm's images


def plan(prepared: Prepared, added: Sequence[Step]) -> tuple[Step, ...]:
    """A step an arm and seed; `added` are the steps that make images for some arm."""
    study = prepared.study
    return tuple(
        _step(prepared, arm, seed, [step for step in added if _is_for(prepared, arm, step)])
        for arm in study.arm_table.values()
        for seed in study.seeds
    )


def _is_for(prepared: Prepared, arm: Arm, step: Step) -> bool:
    """Whether an arm trains on what a step makes, or is probed with it; external images are one arm's alone."""
    if step.stage == "probe" or (step.stage == "autoencoded" and prepared.coding != "none"):
        return True
    if step.stage == "gate":
        return bool(arm.gate)
    return step.stage == _STAGES.get(arm.source) and (step.stage != "external" or step.what == arm.name)


def _step(prepared: Prepared, arm: Arm, seed: int, added: Sequence[Step]) -> Step:
    study, identity_of = prepared.study, prepared.images.identity_of
    counts = prepared.counts_of(arm)
    depends = inputs(
        "arm",
        arm=arm.name,
        seed=seed,
        train=identity_of(prepared.train_of(arm)),
        validation=identity_of(prepared.split.validation),
        test=identity_of(prepared.split.test),
        filled={label: count for label, count in counts.items() if count},
        added={step.id: step.digest for step in added},
        pixels=settings(study.pixels),
        classifier=result_settings(classifier_config(study, arm)),
        coding=prepared.coding,
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
    """Train the classifier, write its provenance along its lineage, and predict the validation and the test part."""
    prepared, (_, name, seed) = plan.prepared, step.record
    study, arm = prepared.study, prepared.study.arm_table[name]
    if arm.source == "synthetic":
        images.refuse_leaks(plan)  # names the folder at fault; below, whatever else the arm is made of
    seen = classifier_provenance(plan, arm)
    prepared.split.refuse_seen(seen, f"what arm {name} is trained on")
    task, train = task_of(plan, arm, int(seed)), prepared.train_of(arm)
    config = classifier_config(study, arm)
    train_arm(task=task, config=config, pixels=study.pixels, out=folder, cache=study.cache, progress=progress)
    write_model_provenance(
        folder / "model",
        provenance=seen,
        train=train,
        validation=prepared.split.validation,
        weights=study.classifier.weights,
    )
    predict(folder / "model", prepared.split.test, cache=study.cache).write(folder / "predictions.csv")
    predict(folder / "model", prepared.split.validation, cache=study.cache).write(folder / "validation.csv")
    write_probe(plan, folder)


def classifier_config(study: StudyConfig, arm: Arm) -> ClassifierConfig:
    """The classifier's settings, with the arm's own laid over them."""
    return dataclasses.replace(study.classifier, **arm.settings)


def task_of(plan: Plan, arm: Arm, seed: int) -> ArmTask:
    """What a classifier of an arm is trained on, with the coded images that stand beside or in place of photographs."""
    prepared = plan.prepared
    train = prepared.train_of(arm)
    added, counts = added_images(plan, arm), prepared.counts_of(arm)
    if arm.gate and added is not None:  # of some class it may keep none
        counts = {label: n for label, n in counts.items() if label in added.labels}
    table = compose(arm, _as_shown(plan, train), added, counts)
    left = table.where((table.table["source"] == "real") & table.table["image_id"].isin(set(train.table["image_id"])))
    return ArmTask(
        arm=arm.name,
        seed=seed,
        train=table,
        validation=_as_shown(plan, prepared.split.validation),
        is_external=arm.source == "external",
        coded=autoencoded.twins(plan, left, prepared.coding),
        coding=prepared.coding,
        coder=_coder(plan) if prepared.coding == "all" else None,
    )


def _coder(plan: Plan) -> Coder:
    """What codes an image as the synthetic ones are; kept with a classifier that was trained on coded images alone."""
    written = plan.prepared.study.generate
    return Coder(load_base(plan.base).vae, written.jpeg_quality if written.format == "jpg" else None)


def _as_shown(plan: Plan, part: Manifest) -> Manifest:
    """A part to train and validate on: coded where everything is coded, else as it is."""
    coded = autoencoded.of_part(plan, part) if plan.prepared.coding == "all" else None
    return part if coded is None else coded


def added_images(plan: Plan, arm: Arm) -> Manifest | None:
    """The images that an arm's rare classes are filled up with; None where it adds none, or repeats real ones."""
    if arm.gate:
        return gate.read_images(plan, arm.gate)
    if arm.source == "synthetic":
        return images.read_images(plan)
    if arm.source == "autoencoded":
        return _of_train(plan, autoencoded.read_images(plan))
    return external.read_images(plan, arm.name) if arm.source == "external" else None


def _of_train(plan: Plan, coded: Manifest | None) -> Manifest | None:
    """The coded images whose photographs the study's classifiers may see."""
    if coded is None:
        return None
    ids = LINEAGE + plan.prepared.train.table["image_id"]
    return coded.where(coded.table["lineage"].isin(set(ids)))
