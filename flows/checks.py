"""Checks of a plan before any of its steps is made: the base's provenance, and the disk."""

from __future__ import annotations

from augment.base.config import BaseConfig
from augment.base.provenance import base_provenance
from data.splits.split import Split
from flows.disk import check_disk
from flows.plan import Plan
from flows.steps import Runner


def check(plan: Plan, run: Runner) -> None:
    """Raise DataError for a base that has seen validation or test images, InputError for a run that does not fit."""
    study = plan.prepared.study
    parent = study.base.parent
    if plan.steps_of("images") or plan.steps_of("autoencoded"):
        refuse_base(study.base if study.base.own is None else parent, plan.prepared.split)
    run("disk", "", lambda _: check_disk(plan))


def refuse_base(base: BaseConfig | None, split: Split) -> None:
    """Raise DataError for a base that has seen a leakage group, image, lesion or patient of validation or test."""
    if base is not None:
        split.refuse_seen(base_provenance(base), f"the base {base.source}")
