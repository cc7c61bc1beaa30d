"""Checks of the plans of a run before any of their steps is made: the base's provenance, and the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.provenance import base_provenance
from augment.methods.init_lora import init_provenance
from data.splits.split import Split
from flows.disk import check_disk
from flows.plan import Plan
from flows.power import power
from flows.steps import Runner


def check(plans: Sequence[Plan], run: Runner) -> None:
    """Raise DataError for a base that has seen validation or test images, InputError for a run that does not fit.

    `plans` are those of all repeats.
    """
    for plan in plans:
        refuse_used_base(plan)
    run("power", "", lambda _: power(plans))
    run("disk", "", lambda _: check_disk(*plans))


def refuse_used_base(plan: Plan) -> None:
    """Raise DataError for the base of a plan, or what its own is continued from, as `refuse_base` does.

    And for a LoRA that its fine-tunes start from, as far as it is known what that has seen.
    """
    base = plan.prepared.study.base
    if plan.steps_of("images") or plan.steps_of("autoencoded"):
        refuse_base(base if base.own is None else base.parent, plan.prepared.split)
    start: str | None = getattr(plan.prepared.study.finetune, "init_lora", None)  # LoRA's alone
    if start is not None and plan.steps_of("fine-tune"):
        plan.prepared.split.refuse_seen(
            init_provenance(Path(start), base_identity(plan.base)), f"finetune.init_lora {start}"
        )


def refuse_base(base: BaseConfig | None, split: Split) -> None:
    """Raise DataError for a base that has seen a leakage group, image, lesion or patient of validation or test."""
    if base is not None:
        split.refuse_seen(base_provenance(base), f"the base {base.source}")
