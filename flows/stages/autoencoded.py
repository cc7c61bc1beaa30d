"""Real images passed once through the base's autoencoder: for mixed coding, and for the arm of such images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augment.generate.autoencoded import LINEAGE, autoencode, autoencoded_image_bytes, autoencoded_manifest, recoded
from classify.mix import Coding
from data.manifest import Manifest
from data.progress import Progress
from data.splits.split import first_photographs
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import base
from flows.steps import DiskUse, Step

ROOT = "autoencoded"  # name of the run folder as a root of paths
_MOST = 1000  # images of a class that are coded for mixed coding; a training draws few of a commoner one more than once


def plan(prepared: Prepared, own: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class whose images some arm needs coded; every class, unless `coding` is "none"."""
    if prepared.coding != "none":
        labels: Sequence[str] = prepared.split.train.labels
    elif prepared.study.trains_on("autoencoded"):
        labels = [label for label, count in prepared.fill_counts.items() if count]
    else:
        labels = ()
    return tuple(_step(prepared, label, own) for label in labels)


def _part(prepared: Prepared, label: str) -> Manifest:
    """The images of a class that are coded: of train, and of validation too where everything is."""
    if prepared.coding == "all":
        return Manifest.concat(prepared.split.train, prepared.split.validation).of(label)
    if prepared.coding == "none":
        return prepared.train.of(label)
    return first_photographs(prepared.split.train, label, _MOST, prepared.study.study_seed)


def _step(prepared: Prepared, label: str, own: Sequence[Step]) -> Step:
    study, part = prepared.study, _part(prepared, label)
    depends = inputs(
        "autoencoded",
        label=label,
        part=prepared.images.identity_of(part),
        base=base.identity(prepared, own),
        pixels=settings(study.pixels),
        written={"format": study.generate.format, "jpeg_quality": study.generate.jpeg_quality},
    )
    size = study.pixels.size
    disk = DiskUse(
        kind="autoencoded images", kept=len(part) * autoencoded_image_bytes(study.pixels), pixel_sizes=(size,)
    )
    return Step(
        stage="autoencoded",
        what=label,
        record=("autoencoded", label),
        folder=study.folder / "autoencoded" / label,
        inputs=depends,
        needs=base.ids(own),
        disk=disk,
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Encode and decode the class's images."""
    prepared = plan.prepared
    study, part = prepared.study, _part(prepared, step.record[-1])
    autoencode(
        base=plan.base,
        part=part,
        pixels=study.pixels,
        written=study.generate,
        out=folder,
        cache=study.cache,
        progress=progress,
    )


def read_images(plan: Plan) -> Manifest | None:
    """The images of all classes; None where there are none."""
    steps, roots = plan.steps_of("autoencoded"), {ROOT: plan.prepared.study.folder}
    return Manifest.concat(*(autoencoded_manifest(step.target, ROOT, roots) for step in steps)) if steps else None


def of_part(plan: Plan, part: Manifest) -> Manifest | None:
    """The coded images of a part's rows, in place of its own files; None where nothing is coded."""
    coded = read_images(plan)
    return None if coded is None else recoded(part, coded)


def twins(plan: Plan, part: Manifest, coding: Coding) -> Manifest | None:
    """Coded images of a part, to stand beside its photographs under ids of their own; None unless coding is mixed."""
    coded = read_images(plan) if coding == "mixed" else None
    if coded is None:
        return None
    there = (LINEAGE + part.table["image_id"]).isin(set(coded.table["lineage"]))
    found = recoded(part.where(there), coded)
    return Manifest(found.table.assign(image_id="coded-" + found.table["image_id"]), found.roots)
