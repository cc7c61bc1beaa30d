"""Fine-tunes: one adapter a rare class, all in one batch where the method trains several classes at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from torch import nn

from augment.base.param_count import base_parts
from augment.finetune.config import result_settings
from augment.finetune.disk import adapter_bytes, checkpoint_bytes, checkpoint_saves
from augment.finetune.held_out import HeldOut
from augment.finetune.run import finetune
from augment.finetune.select import Selection
from classify.features import features
from data.progress import Progress
from data.splits.provenance import Provenance
from flows import held_back
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import base
from flows.steps import DiskUse, Step


def plan(prepared: Prepared, own: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class that gets synthetic images."""
    if not prepared.synthetic_counts:
        return ()
    base.refuse_prompts(prepared)
    disk = _disk(prepared)
    return tuple(_step(prepared, label, own, disk) for label in prepared.synthetic_counts)


def _step(prepared: Prepared, label: str, own: Sequence[Step], disk: DiskUse) -> Step:
    study, source = prepared.study, prepared.study.finetune.condition_source
    depends = inputs(
        "fine-tune",
        label=label,
        shots=prepared.images.identity_of(held_back.trained_on(prepared, label)),
        pixels=settings(study.pixels),
        base=base.identity(prepared, own),
        finetune=result_settings(study.finetune),
        prompts=study.prompts.result_settings(),
        seed=study.generator_seed,
        **study.prompts.captions_identity(held_back.trained_on(prepared, label)),
        **_choice(prepared, label),
        **(source.identity(held_back.trained_on(prepared, label)) if source else {}),
    )
    return Step(
        stage="fine-tune",
        what=label,
        record=("finetune", label),
        folder=study.folder / "finetune" / label,
        inputs=depends,
        needs=base.ids(own),
        group="" if study.finetune.max_classes == 1 else "fine-tune",
        disk=disk,
    )


def _choice(prepared: Prepared, label: str) -> dict[str, str | None]:
    """What chooses the class's step, as inputs; nothing where the last one is kept."""
    if prepared.study.finetune.select_every is None:
        return {}
    known, held_out = held_back.features_of(prepared), held_back.choosing(prepared, label)
    return {"chosen_by": prepared.images.identity_of(held_out), "features": known.identity if known else None}


def _disk(prepared: Prepared) -> DiskUse:
    study = prepared.study
    params = study.finetune.trained_params(base_parts(study.base, study.pixels.size))
    return DiskUse(
        kind="adapters",
        kept=adapter_bytes(study.finetune, params, study.pixels.size),
        checkpoint=checkpoint_bytes(params, selects=study.finetune.select_every is not None),
        checkpoints=checkpoint_saves(study.finetune),
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Fine-tune one class."""
    for _ in make_group(plan, (step,), {step.id: folder}, progress):
        pass


def make_group(
    plan: Plan, steps: Sequence[Step], folders: Mapping[str, Path], progress: Progress
) -> Iterator[tuple[Step, float]]:
    """Fine-tune these classes; yields each step with its share of the seconds, once its adapter is written."""
    prepared, by_label = plan.prepared, {step.record[-1]: step for step in steps}
    trained = finetune(
        base=plan.base,
        shots={label: held_back.trained_on(prepared, label) for label in by_label},
        config=prepared.study.finetune,
        out={label: folders[step.id] for label, step in by_label.items()},
        context=prepared.context,
        selection=_selection(prepared, list(by_label)),
        held_out=_held_out(prepared, list(by_label)),
        run=prepared.study.folder,
        progress=progress,
    )
    for label, seconds in trained:
        yield by_label[label], seconds


def _held_out(prepared: Prepared, labels: Sequence[str]) -> HeldOut | None:
    """The photographs whose loss stands beside the training's; None: the config asks for none.

    Raises DataError for photographs that are related to the validation or test part.
    """
    if not prepared.study.finetune.held_out_every:
        return None
    found = {label: held_back.held_out(prepared, label) for label in labels}
    for label, photographs in found.items():
        prepared.split.refuse_seen(Provenance.of(photographs), f"the held-out loss of the fine-tune of {label}")
    return HeldOut(
        photographs={label: photographs for label, photographs in found.items() if len(photographs)},
        origin=held_back.origin(prepared),
        reasons={
            label: held_back.why_no_loss(prepared, label)
            for label, photographs in found.items()
            if not len(photographs)
        },
    )


def _selection(prepared: Prepared, labels: Sequence[str]) -> Selection | None:
    """What chooses these classes' steps; None: the config keeps the last one.

    Raises DataError for photographs that are related to the validation or test part.
    """
    if prepared.study.finetune.select_every is None:
        return None
    known = held_back.features_of(prepared)
    held_out = {label: held_back.choosing(prepared, label) for label in labels}
    for label, photographs in held_out.items():
        prepared.split.refuse_seen(Provenance.of(photographs), f"the choice of the fine-tune of {label}")
    reasons = {label: held_back.why_none(prepared, label) for label, found in held_out.items() if not len(found)}
    if known is None:
        reasons = dict.fromkeys(labels, "no network is at hand whose features would compare its images")
    network = None if known is None else known.extractor(prepared.study.pixels).network
    return Selection(
        features=lambda pixels: features(cast("nn.Module", network), pixels),
        features_name=known.name if known else "",
        features_identity=known.identity if known else "",
        held_out={label: found for label, found in held_out.items() if label not in reasons},
        origin=held_back.origin(prepared),
        reasons=reasons,
    )
