"""The base of a study: asked what it has seen and, if it is the study's own, trained on the train part first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from augment.base.config import BaseConfig, base_identity, require_there, seen_by
from augment.base.pretrain import pretrain_own
from augment.base.train import OwnBaseConfig, Progress, settings_of
from data.manifest import Manifest
from data.splits.provenance import SeenIds
from data.splits.split import Split
from flows.prepare import Images, base_part
from flows.record import Record
from flows.steps import Conductor, Step, Watch
from flows.study import StudyConfig, inputs, settings


def with_base(config: StudyConfig, images: Images, split: Split, record: Record, conduct: Conductor) -> StudyConfig:
    """Give the study with a base that is there; its own is trained, unless an earlier run did.

    Raises DataError for a base that has seen what the classifiers are judged by.
    """
    start = config.base.start()
    if start is not None:
        refuse_base(start, split)
    if config.base.own is not None:
        step = base_step(config, images, base_part(config, split))
        record.add("base", done=conduct(step.stage, step.what, step))
        config = dataclasses.replace(config, base=record.base)
    refuse_base(config.base, split)
    return config


def refuse_absent(config: StudyConfig) -> None:
    """Raise BaseError for a base that lies nowhere, where one is to be used; nothing is read for that."""
    if "synthetic" in config.arms:
        require_there(config.base)


def base_step(config: StudyConfig, images: Images, part: Manifest) -> Step:
    """Train the study's own base on a part of its train part."""
    own = config.base.pretrain
    depends = inputs(
        "base",
        part=images.identity_of(part),
        start=base_identity(config.base)["start"],
        pretrain=_what_decides(own),
        pixels=settings(config.pixels),
        prompts=settings(config.prompts),
        seed=config.study_seed,
    )

    def make(folder: Path, watch: Watch) -> None:
        cache, told = Path(config.runs) / "cache", _told(own, watch)
        pretrain_own(config.base, part, config.pixels, config.prompts, folder, config.study_seed, cache, told)

    return Step(stage="base", what=f"from {own.start}", folder=config.folder / "base", inputs=depends, make=make)


def refuse_base(base: BaseConfig, split: Split) -> None:
    """Raise DataError for a base whose record names a leakage group, image, lesion or patient of validation or test."""
    split.refuse_seen(SeenIds.told(seen_by(base)), f"the base {base.source}")


def _what_decides(own: OwnBaseConfig) -> dict[str, Any]:
    """Give the settings as plain JSON, less those that only change speed, and the classes, which the part tells."""
    plain = settings_of(own)
    del plain["classes"], plain["start"]
    for stage, idle in (("autoencoder", ("compile", "checkpoint_every")), ("denoiser", ("checkpoint_every",))):
        plain[stage] = plain[stage] and {name: value for name, value in plain[stage].items() if name not in idle}
    return plain


def _told(own: OwnBaseConfig, watch: Watch) -> Progress:
    """Tell a watch of both trainings as of one."""
    first = own.autoencoder.steps if own.autoencoder else 0
    total = first + own.denoiser.steps

    def progress(stage: str, done: int, of: int, loss: float) -> None:
        if stage == "latents":
            watch(first, total, f"latents of {done} of {of} images")
        else:
            watch(done + (first if stage == "denoiser" else 0), total, f"{stage}, loss {loss:.3f}")

    return progress
