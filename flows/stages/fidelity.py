"""Compares synthetic images with photographs of the train part that their generator has not seen, class by class.

In seconds, and after the images: nothing later depends on it, and no study fails for want of features.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL

from augment.base.autoencoder import psnr
from augment.base.load import load_base
from augment.device import default_device
from augment.fidelity_table import fidelity_table
from augment.generate.run import synthetic_manifest
from classify.features import Extractor, KnownFeatures
from data.manifest import Manifest
from data.pixels import load_pixels
from data.progress import Progress
from data.store import write_json
from flows import held_back
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import base, images
from flows.steps import DiskUse, Step

RECORD, RECONSTRUCTION = "fidelity.json", "reconstruction.json"
_WHAT = "reconstruction by class"
_MOST = 256  # images of a set that are compared, the first ones
_CODED_PIXELS = 2**21  # of each class that the autoencoder reconstructs: 32 images up to 256 px, 8 of 512 px
_MOST_CODED, _CODED_AT_ONCE = 32, 8
_KEPT = 2**15  # bytes of a record, at most


def plan(prepared: Prepared, own: Sequence[Step], synthetic: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class that gets synthetic images, and one for the autoencoder where the study uses a base."""
    if not prepared.study.fidelity or not prepared.needs_base:
        return ()
    known = held_back.features_of(prepared)
    return (*(_step(prepared, step, known) for step in synthetic), _reconstruction_step(prepared, own))


def _step(prepared: Prepared, made: Step, known: KnownFeatures | None) -> Step:
    study, label, identity_of = prepared.study, made.what, prepared.images.identity_of
    depends = inputs(
        "fidelity",
        label=label,
        images=made.digest,
        held_back=identity_of(held_back.measuring(prepared, label)),
        shots=identity_of(held_back.trained_on(prepared, label)),
        pixels=settings(study.pixels),
        features=known.identity if known else None,
    )
    return Step(
        stage="fidelity",
        what=label,
        record=("fidelity", label),
        folder=study.folder / "fidelity" / label,
        inputs=depends,
        needs=(made.id,),
        group="fidelity",
        disk=DiskUse(kind="fidelity", kept=_KEPT, pixel_sizes=(study.pixels.size,)),
    )


def _reconstruction_step(prepared: Prepared, own: Sequence[Step]) -> Step:
    study = prepared.study
    depends = inputs(
        "fidelity",
        base=base.identity(prepared, own),
        images={label: prepared.images.identity_of(part) for label, part in _coded(prepared).items()},
        pixels=settings(study.pixels),
    )
    return Step(
        stage="fidelity",
        what=_WHAT,
        record=("reconstruction",),
        folder=study.folder / "fidelity" / "reconstruction",
        inputs=depends,
        needs=base.ids(own),
        group="fidelity",
        disk=DiskUse(kind="fidelity", kept=_KEPT, pixel_sizes=(study.pixels.size,)),
    )


def _coded(prepared: Prepared) -> dict[str, Manifest]:
    """The first train photographs of each class, one a leakage group."""
    count = max(1, min(_MOST_CODED, _CODED_PIXELS // prepared.study.pixels.size**2))
    parts = {label: prepared.split.train.of(label) for label in prepared.split.train.labels}
    independent = {label: part.where(~part.table["group_id"].duplicated()) for label, part in parts.items()}
    return {label: part.first(count) for label, part in independent.items()}


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Compare one class, or reconstruct all."""
    for _ in make_group(plan, (step,), {step.id: folder}, progress):
        pass


def make_group(
    plan: Plan, steps: Sequence[Step], folders: Mapping[str, Path], progress: Progress
) -> Iterator[tuple[Step, float]]:
    """Compare these classes with one network; yields each step with its seconds, once its record is written."""
    start, known = time.monotonic(), held_back.features_of(plan.prepared)
    classes = any(step.record[0] == "fidelity" for step in steps)
    extractor = known.extractor(plan.prepared.study.pixels) if known and classes else None
    for number, step in enumerate(steps, 1):
        if step.record[0] == "fidelity":
            write_json(folders[step.id] / RECORD, _compared(plan, step, extractor))
        else:
            write_json(folders[step.id] / RECONSTRUCTION, _reconstructed(plan))
        progress(number, len(steps))
        yield step, time.monotonic() - start
        start = time.monotonic()


def _compared(plan: Plan, step: Step, extractor: Extractor | None) -> dict[str, Any]:
    """The table of a class, and what it was compared by; no rows without features."""
    prepared, label = plan.prepared, step.what
    roots = {images.ROOT: prepared.study.folder}
    made = synthetic_manifest(plan.target("images", label), images.ROOT, roots)
    photographs, shots = held_back.measuring(prepared, label), held_back.trained_on(prepared, label)
    record: dict[str, Any] = {"label": label, "photographs": len(photographs), "features": "", "rows": {}}
    if extractor is None:
        return record
    cache = prepared.study.cache
    if not len(photographs):
        return {**record, "features": extractor.name}
    real = extractor(photographs.first(_MOST), cache)
    sets = {"synthetic": extractor(made.first(_MOST)), "shots": extractor(shots.first(_MOST), cache)}
    return {**record, "features": extractor.name, **asdict(fidelity_table(real, sets))}


def _reconstructed(plan: Plan) -> dict[str, Any]:
    """PSNR in dB of each class's photographs through the base's autoencoder: mean, lowest, highest."""
    study, vae = plan.prepared.study, load_base(plan.base).vae.to(default_device())
    found = {}
    for label, part in _coded(plan.prepared).items():
        decibels = _decibels(vae, part, plan)
        figures = {"value": float(np.mean(decibels)), "low": min(decibels), "high": max(decibels)}
        found[label] = {"images": len(part), **figures}
    return {"size": study.pixels.size, "classes": found}


def _decibels(vae: AutoencoderKL, part: Manifest, plan: Plan) -> list[float]:
    study = plan.prepared.study
    pixels = load_pixels(part, study.pixels, study.cache)
    batches = range(0, len(pixels), _CODED_AT_ONCE)
    return [decibel for start in batches for decibel in psnr(vae, pixels[start : start + _CODED_AT_ONCE])]
