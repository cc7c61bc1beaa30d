"""Real images of a rare class, passed once through the base's autoencoder, for the arm that measures its effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augment.generate.autoencoded import autoencode, autoencoded_image_bytes, autoencoded_manifest
from data.manifest import Manifest
from data.progress import Progress
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import base
from flows.steps import DiskUse, Step

ROOT = "autoencoded"  # name of the run folder as a root of paths


def plan(prepared: Prepared, own: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class that the filled arms add to; none where no arm trains on such images."""
    if not prepared.study.trains_on("autoencoded"):
        return ()
    return tuple(_step(prepared, label, own) for label, count in prepared.fill_counts.items() if count)


def _step(prepared: Prepared, label: str, own: Sequence[Step]) -> Step:
    study, part = prepared.study, prepared.train.of(label)
    depends = inputs(
        "autoencoded",
        label=label,
        part=prepared.images.identity_of(part),
        base=base.identity(prepared, own),
        pixels=settings(study.pixels),
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
    """Encode and decode the class's train images."""
    prepared, label = plan.prepared, step.record[-1]
    study, part = prepared.study, prepared.train.of(label)
    autoencode(base=plan.base, part=part, pixels=study.pixels, out=folder, cache=study.cache, progress=progress)


def read_images(plan: Plan) -> Manifest | None:
    """The images of all classes; None where there are none."""
    steps, roots = plan.steps_of("autoencoded"), {ROOT: plan.prepared.study.folder}
    return Manifest.concat(*(autoencoded_manifest(step.target, ROOT, roots) for step in steps)) if steps else None
