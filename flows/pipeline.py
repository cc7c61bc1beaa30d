"""The whole run, step by step: what `augment-and-evaluate` does, by hand and under Prefect alike."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import filelock
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from augment.base.config import pinned
from augment.device import keep_compiled
from augment.generate.pipeline import Wardrobe
from augment.prompts import require_labels
from classify.model import build
from data.errors import InputError
from data.splits.random_split import divide_carelessly
from flows.ahead import steps_ahead
from flows.base import refuse_absent, with_base
from flows.careless import careless_step
from flows.compare import arm_step, counts_to_draw, folder_images, train_part
from flows.disk import room, sizes_of
from flows.full_disk import said_if_full, watching_the_disk
from flows.ledger import write_ledger
from flows.prepare import read_images, read_split, shots_of, split_step
from flows.record import Finding, Record, remove_photographs, report
from flows.steps import Conductor, Step
from flows.study import StudyConfig
from flows.synthesize import finetunes, images_step
from flows.weights import refuse_weights


def steps_of(config: StudyConfig) -> int:
    """Count the steps of a run, if every rare class needs images."""
    classes = len(config.split.rare) if "synthetic" in config.arms else 0
    own = 1 if classes and config.base.own else 0
    trained = len(config.arms) + (1 if config.random_split else 0)
    tuned = min(classes, 1) if config.finetune.together else classes
    return 4 + own + tuned + classes + len(config.folder_arms) + trained * len(config.seeds)


def run_study(config: StudyConfig, conduct: Conductor) -> Finding:
    """Run the study, keeping what is finished from an earlier run.

    Raises InputError for what a user can mend, TrainingError for training that failed.
    """
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()  # steps are shown by the conductor
    config.folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(config.folder.with_name(f".{config.name}.lock"), timeout=0), said_if_full(config.runs):
            if not config.photographs:
                remove_photographs(config.folder)
            return _run(config, watching_the_disk(conduct, config.runs))
    except filelock.Timeout as fault:
        raise InputError(f"{config.folder}: another run is at work there; wait for it, or set another name=") from fault


def _run(config: StudyConfig, conduct: Conductor) -> Finding:
    refuse_absent(config)
    config = dataclasses.replace(config, base=pinned(config.base))
    record = Record(config=config, started=datetime.now(UTC))
    first = config.classifier  # what it cannot begin with is said before anything is trained
    network = build(first.weights, 2, architecture=first.model)
    images = conduct("read images", config.data.source, lambda watch: read_images(config, watch))
    require_labels(config.prompts, images.manifest.labels)

    dividing = split_step(config, images)
    record.add("split", done=conduct("split", "", dividing))
    split = read_split(dividing.target, images.manifest.roots)
    refuse_weights(first.weights, split)
    shots = shots_of(config, split)
    train = train_part(config, split, shots)

    given = folder_images(config, images, split, train)
    counts = counts_to_draw(config, train)
    made = sum(len(folder.chosen) for folder in given.values())
    sizes = sizes_of(config, len(images.manifest), len(images.manifest.labels), counts, made, network)
    steps = steps_ahead(config, images, split, train, shots, given)
    conduct("disk", "", lambda _: room(config, sizes, steps))

    for name, folder in given.items():
        record.add("folder", name, done=conduct("folder", name, folder.step))

    drawn: dict[str, Step] = {}
    if any(counts.values()):
        keep_compiled(Path(config.runs) / "cache" / "compiled")
        config = with_base(config, images, split, record, conduct)
        tuned = dict[str, Step]()
        for work in finetunes(config, images, {label: shots[label] for label, count in counts.items() if count}):
            for done in conduct(work.stage, work.what, work).parts:
                record.add("finetune", done.what, done=done)
            tuned |= {step.what: step for step in work.steps}
        wardrobe = Wardrobe(config.base)  # one base for all classes
        for label, step in tuned.items():
            drawn[label] = images_step(config, label, counts[label], step, train.of(label), wardrobe)
            record.add("images", label, done=conduct("images", label, drawn[label]))
        wardrobe.empty()

    for arm in config.arm_names:
        for seed in config.seeds:
            step = arm_step(config, images, split, train, arm, seed, drawn, given.get(arm))
            record.add("arm", arm, str(seed), done=conduct(step.stage, step.what, step))

    if config.random_split:
        careless = divide_carelessly(split, config.study_seed)
        for seed in config.seeds:
            step = careless_step(config, images, careless, seed)
            record.add("careless", str(seed), done=conduct(step.stage, step.what, step))

    write_ledger(config, split, train, drawn, given)
    return conduct("report", "", lambda _: report(record, split, drawn, given))
