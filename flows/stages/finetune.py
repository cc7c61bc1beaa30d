"""Fine-tunes: one adapter a rare class, all in one batch where the method trains several classes at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from augment.base.param_count import base_parts
from augment.finetune.config import result_settings
from augment.finetune.disk import adapter_bytes, checkpoint_bytes, checkpoint_saves
from augment.finetune.run import finetune
from data.progress import Progress
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
    study = prepared.study
    depends = inputs(
        "fine-tune",
        label=label,
        shots=prepared.images.identity_of(prepared.shots[label]),
        pixels=settings(study.pixels),
        base=base.identity(prepared, own),
        finetune=result_settings(study.finetune),
        prompts=settings(study.prompts),
        seed=study.generator_seed,
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


def _disk(prepared: Prepared) -> DiskUse:
    study = prepared.study
    params = study.finetune.trained_params(base_parts(study.base, study.pixels.size))
    return DiskUse(
        kind="adapters",
        kept=adapter_bytes(study.finetune, params, study.pixels.size),
        checkpoint=checkpoint_bytes(params),
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
        shots={label: prepared.shots[label] for label in by_label},
        config=prepared.study.finetune,
        out={label: folders[step.id] for label, step in by_label.items()},
        context=prepared.context,
        progress=progress,
    )
    for label, seconds in trained:
        yield by_label[label], seconds
