"""Synthetic images of a class, generated with its adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.generate.edit_sources import EditSources
from augment.generate.record import GeneratedImages
from augment.generate.run import ImageRequest, generate, generated_image_bytes, synthetic_manifest
from augment.methods.record import AdapterRecord
from augment.prompts import Attributes, PromptConfig, attributes_of
from data.manifest import Manifest
from data.progress import Progress
from data.store import digest
from flows import held_back
from flows.inputs import inputs
from flows.plan import Plan
from flows.prepared import Prepared
from flows.steps import DiskUse, Step
from flows.stopped import adapter_digest

if TYPE_CHECKING:
    import pandas as pd

ROOT = "synthetic"  # name of the run folder as a root of paths


def plan(prepared: Prepared, adapters: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class that gets synthetic images."""
    return tuple(_step(prepared, adapter) for adapter in adapters)


def _step(prepared: Prepared, adapter: Step) -> Step:
    study, label = prepared.study, adapter.record[-1]
    count = prepared.synthetic_counts[label]
    train = prepared.train.of(label)
    depends = inputs(
        "images",
        label=label,
        count=count,
        adapter=adapter_digest(adapter),
        size=study.pixels.size,
        generate=study.generate.for_label(label).result_settings(),
        seed=study.generator_seed,
        attributes=digest(_attributes(train, study.prompts.without_blip)),
        **study.prompts.captions_identity(train),
        **_sources_identity(prepared, label),
    )
    return Step(
        stage="images",
        what=label,
        record=("images", label),
        folder=study.folder / "images" / label,
        inputs=depends,
        needs=(adapter.id,),
        disk=DiskUse(kind="synthetic images", kept=count * generated_image_bytes(study.generate, study.pixels.size)),
    )


def attributes_for(prepared: Prepared, label: str) -> list[Attributes]:
    """The attributes of the class's train images, which its prompts name; empty if the config names none."""
    return _attributes(prepared.train.of(label), prepared.study.prompts)


def _attributes(train: Manifest, prompts: PromptConfig) -> list[Attributes]:
    return attributes_of(train, prompts) if prompts.describes_images else []


def sources_of(prepared: Prepared, label: str) -> EditSources | None:
    """The photographs that the class's images are edited from; None: they are generated from noise alone.

    Raises DataError for one outside the train part.
    """
    study = prepared.study
    if (edit := study.generate.edit) is None:
        return None
    others = prepared.train.where((prepared.train.table["label"] != label) & (prepared.train.table["source"] == "real"))
    part = prepared.shots[label] if edit.source == "own" else others
    _require_in_train(prepared, part.table["image_id"], part.table["group_id"], label)
    identity = prepared.images.identity_of(part)
    return EditSources(photographs=part, identity=identity, pixels=study.pixels, cache=study.cache)


def _sources_identity(prepared: Prepared, label: str) -> dict[str, Any]:
    edit, sources = prepared.study.generate.edit, sources_of(prepared, label)
    return {} if edit is None or sources is None else {"sources": sources.record(edit)}


def _require_in_train(prepared: Prepared, image_ids: pd.Series[str], group_ids: pd.Series[str], label: str) -> None:
    what = f"photographs that images of {label!r} are edited from"
    prepared.split.require_in_train(image_ids, group_ids, what)


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Generate the class's images."""
    prepared, label = plan.prepared, step.record[-1]
    study, adapter = prepared.study, plan.target("finetune", label)
    request = ImageRequest(
        label=label,
        prompt=AdapterRecord.read(adapter).prompt,
        count=prepared.synthetic_counts[label],
        seed=study.generator_seed,
        size=study.pixels.size,
        attributes=attributes_for(prepared, label),
        adapter=adapter,
        sources=sources_of(prepared, label),
        photographs=held_back.trained_on(prepared, label),
    )
    generate(pipeline=plan.pipeline, request=request, config=study.generate, out=folder, progress=progress)


def unload(plan: Plan) -> None:
    """Free the memory of the loaded base."""
    plan.pipeline.unload()


def read_images(plan: Plan) -> Manifest | None:
    """The synthetic images of all classes; None where there are none."""
    steps = plan.steps_of("images")
    return Manifest.concat(*(of_class(plan, step.what) for step in steps)) if steps else None


def of_class(plan: Plan, label: str) -> Manifest:
    """The synthetic images of one class. Raises DataError for one that was edited from outside the train part."""
    made = synthetic_manifest(plan.target("images", label), ROOT, {ROOT: plan.prepared.study.folder})
    if "source_image" in made.table:
        _require_in_train(plan.prepared, made.table["source_image"], made.table["group_id"], label)
    return made


def refuse_leaks(plan: Plan) -> None:
    """Raise DataError for images whose generator has seen validation or test images."""
    for step in plan.steps_of("images"):
        seen = GeneratedImages.read(step.target).provenance
        plan.prepared.split.refuse_seen(seen, f"the generator of {step.target}")
