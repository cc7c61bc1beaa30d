"""The study's own base, where it trains one: on its train part alone, before anything is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from augment.base.identity import WORDS, base_identity
from augment.base.own_base import (
    own_base_bytes,
    own_base_checkpoint_bytes,
    own_base_part,
    own_base_settings,
    pretrain_own,
)
from augment.base.param_count import base_parts
from augment.prompts import attributes_of
from data.manifest import Manifest
from data.progress import Progress
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.steps import DiskUse, Step


def plan(prepared: Prepared) -> tuple[Step, ...]:
    """The step that trains the study's own base; none for a base that exists already, or that no arm needs."""
    study, own = prepared.study, prepared.study.base.own
    if own is None or not prepared.needs_base:
        return ()
    parts = base_parts(study.base, study.pixels.size)
    depends = inputs(
        "base",
        part=prepared.images.identity_of(part_of(prepared)),
        init_from=base_identity(study.base)["init_from"],
        pretrain=own_base_settings(own),
        pixels=settings(study.pixels),
        prompts=study.prompts.result_settings(),
        seed=study.study_seed,
        **study.prompts.captions_identity(part_of(prepared)),
    )
    n = len(prepared.images.manifest)
    disk = DiskUse(
        kind="base",
        kept=own_base_bytes(parts),
        checkpoint=own_base_checkpoint_bytes(own, parts, n, study.pixels.size),
        checkpoints=1,
        pixel_sizes=(study.pixels.size,),
    )
    what, folder = f"from {own.init_from}", study.folder / "base"
    return (Step(stage="base", what=what, record=("base",), folder=folder, inputs=depends, disk=disk),)


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Train it and write a diffusers folder."""
    del step
    prepared = plan.prepared
    study, part = prepared.study, part_of(prepared)
    context = replace(prepared.context, seed=study.study_seed)  # one base for all generator seeds
    pretrain_own(base=study.base, part=part, context=context, out=folder, progress=progress)


def part_of(prepared: Prepared) -> Manifest:
    """The images that the own base is trained on. Raises ConfigError."""
    own = prepared.study.base.own
    if own is None:
        raise ValueError(f"the base {prepared.study.base.source} is not the study's own to train")
    return own_base_part(own, prepared.train, prepared.study.split.rare)


def identity(prepared: Prepared, own: Sequence[Step]) -> dict[str, Any]:
    """The base's identity in a step's inputs; the study's own has that of its step, trained or not."""
    known = base_identity(prepared.study.base)
    return {"own": own[0].digest, **{key: known[key] for key in (WORDS,) if key in known}} if own else known


def ids(own: Sequence[Step]) -> tuple[str, ...]:
    """Ids of the steps that must be finished before the base can be loaded."""
    return tuple(step.id for step in own)


def refuse_prompts(prepared: Prepared) -> None:
    """Raise InputError for prompt columns or captions that cannot be read, before anything is trained."""
    attributes_of(prepared.split.train, prepared.study.prompts.without_blip)
