"""What is checked once the steps are known and before any of them is made: what a run would be refused for later."""

from __future__ import annotations

from augment.base.config import BaseConfig
from augment.base.provenance import base_provenance
from data.splits.split import Split
from flows.disk import check_disk
from flows.plan import Plan
from flows.steps import Runner


def check(plan: Plan, run: Runner) -> None:
    """Raise DataError for a base that has seen what judges the classifiers, InputError for a run that cannot fit."""
    study = plan.prepared.study
    parent = study.base.parent
    if plan.steps_of("images") or plan.steps_of("autoencoded"):
        refuse_base(study.base if study.base.own is None else parent, plan.prepared.split)
    run("disk", "", lambda _: check_disk(plan))


def refuse_base(base: BaseConfig | None, split: Split) -> None:
    """Raise DataError for a base that has seen a leakage group, image, lesion or patient of validation or test."""
    if base is not None:
        split.refuse_seen(base_provenance(base), f"the base {base.source}")
