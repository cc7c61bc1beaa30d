"""The coding probe: test images of common classes, passed through the base's autoencoder.

A classifier that has learned the decoder's trace as a sign of rare classes calls more of them rare once they are coded.
The images are paired and nothing is trained, so the probe measures the trace alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from augment.generate.autoencoded import autoencode, autoencoded_image_bytes, autoencoded_manifest, recoded
from classify.predict import predict
from data.manifest import Manifest
from data.progress import Progress
from data.spreadsheet import csv_text
from data.store import write_text
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import base
from flows.steps import DiskUse, Step

FILE = "probe.csv"  # in a classifier's folder
ROOT = "probe"  # name of the run folder as a root of paths
_MOST = 400  # images


def plan(prepared: Prepared, own: Sequence[Step]) -> tuple[Step, ...]:
    """One step, where some arm trains on images of the base and the test part itself is not coded."""
    part = images_of(prepared)
    if not prepared.needs_base or prepared.study.coding == "all" or not len(part):
        return ()
    study = prepared.study
    depends = inputs(
        "probe",
        part=prepared.images.identity_of(part),
        base=base.identity(prepared, own),
        pixels=settings(study.pixels),
        written={"format": study.generate.format, "jpeg_quality": study.generate.jpeg_quality},
    )
    disk = DiskUse(kind="probe", kept=len(part) * autoencoded_image_bytes(study.pixels))
    folder = study.folder / "probe"
    return (
        Step(stage="probe", what="", record=("probe",), folder=folder, inputs=depends, needs=base.ids(own), disk=disk),
    )


def images_of(prepared: Prepared) -> Manifest:
    """Test images of the classes that are not rare, at most so many, drawn by the study seed."""
    test = prepared.split.test
    common = test.where(~test.table["label"].isin(prepared.study.split.rare))
    rng = np.random.default_rng(prepared.study.study_seed)
    chosen = np.sort(rng.permutation(len(common))[:_MOST])
    return Manifest(common.table.iloc[chosen].reset_index(drop=True), common.roots)


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Encode and decode the images."""
    del step
    prepared = plan.prepared
    study = prepared.study
    autoencode(
        base=plan.base,
        part=images_of(prepared),
        pixels=study.pixels,
        written=study.generate,
        out=folder,
        cache=study.cache,
        progress=progress,
    )


def write_probe(plan: Plan, classifier: Path) -> None:
    """Write what a trained classifier predicts for each image as a photograph and coded, where there is a probe."""
    steps, prepared = plan.steps_of("probe"), plan.prepared
    if not steps:
        return
    part, cache = images_of(prepared), prepared.study.cache
    coded = recoded(part, autoencoded_manifest(steps[0].target, ROOT, {ROOT: prepared.study.folder}))
    found = [predict(classifier / "model", images, cache=cache) for images in (part, coded)]
    photograph, decoded = ([each.classes[k] for k in each.predicted] for each in found)
    columns = {"image": part.table["image_id"], "label": part.table["label"], "photograph": photograph}
    table = pd.DataFrame({**columns, "coded": decoded})
    write_text(classifier / FILE, csv_text(table))
