"""The gate: which synthetic images of a class an arm may train on, with the reasons for which the others are refused.

Its images are compared with the photographs that classifiers train on, and with all validation and test photographs:
of these the pixels alone are read, to refuse look-alikes and to choose nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment import device as devices
from augment.base.load import load_base
from augment.generate import select as gate
from augment.generate.copies import SIDE
from augment.generate.defects import Limits
from augment.generate.off_class import OutOfFold
from augment.generate.planted import CHANGES, Pixels, planted
from classify import embedded
from classify.device import default_device
from classify.features import Extractor
from classify.model import build
from classify.weights import weights_identity, weights_name
from data.coding import reconstruct
from data.files.images import read_rgb
from data.manifest import Manifest, read_table
from data.pixels import PixelConfig, load_pixels
from data.progress import Progress
from data.sources.external import originals_of
from data.spreadsheet import csv_text
from data.store import derive_seed, read_record, write_json, write_text
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import images
from flows.steps import DiskUse, Step
from flows.study import StudyConfig

TABLE, RECORD = "gate.csv", "gate.json"
KEPT = "kept"  # in the column `gate` of a manifest, for an image that is not refused
_PLANTED, _READ = 30, 400  # photographs a class that copies are made of, and that the classifier of them is fitted on


def plan(prepared: Prepared, synthetic: Sequence[Step]) -> tuple[Step, ...]:
    """A step a class, where some arm trains on what the gate keeps, or on as many at random."""
    if not any(arm.gate for arm in prepared.study.arm_table.values()):
        return ()
    return tuple(_step(prepared, step) for step in synthetic)


def _step(prepared: Prepared, of: Step) -> Step:
    study, label = prepared.study, of.record[-1]
    depends = inputs(
        "gate",
        label=label,
        images=of.digest,
        train=prepared.images.identity_of(prepared.train),
        compared={name: prepared.images.identity_of(part) for name, part in _held_out(prepared).items()},
        pixels=settings(study.pixels),
        network=[weights_identity(_network(study)[0]), study.classifier.model],
        seed=study.study_seed,
    )
    return Step(
        stage="gate",
        what=label,
        record=("gate", label),
        folder=study.folder / "gate" / label,
        inputs=depends,
        needs=(of.id,),
        group="gate",
        disk=DiskUse(pixel_sizes=tuple({study.pixels.size, _compared(study).size})),
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Judge the images of one class."""
    for _ in make_group(plan, (step,), {step.id: folder}, progress):
        pass


def make_group(
    plan: Plan, steps: Sequence[Step], folders: Mapping[str, Path], progress: Progress
) -> Iterator[tuple[Step, float]]:
    """Judge these classes' images, one after the other; photographs are read and classifiers fitted once."""
    parts, start = _Parts(plan), time.perf_counter()
    for number, step in enumerate(steps):
        progress(number, len(steps), step.what)
        _judge(parts, step.what, folders[step.id])
        yield step, time.perf_counter() - start
        start = time.perf_counter()
    progress(len(steps), len(steps))


@dataclass(frozen=True)
class _Parts:
    """What the images of every class are compared with, each read once."""

    plan: Plan

    @cached_property
    def train(self) -> gate.Photographs:
        """The photographs that classifiers train on."""
        return self._photographs(self.plan.prepared.train)

    @cached_property
    def held_out_table(self) -> Manifest:
        """Validation and test images, and those in no part."""
        parts = _held_out(self.plan.prepared)
        tables = [Manifest(part.table.assign(part=name), part.roots) for name, part in parts.items()]
        return Manifest.concat(*tables)

    @cached_property
    def held_out(self) -> gate.Photographs:
        """Their pixels; no label is read."""
        found = self._photographs(self.held_out_table)
        unread = np.full(len(found.labels), "")
        return gate.Photographs(pixels=found.pixels, labels=unread, groups=found.groups, lesions=unread)

    @cached_property
    def extractor(self) -> Extractor:
        """The frozen network whose features tell classes apart: the classifiers' initial weights, or the embedded."""
        study = self.plan.prepared.study
        weights, model = _network(study)
        network = build(weights, 2, architecture=model).to(default_device()).eval()
        return Extractor(name=weights_name(weights, model), network=network, pixels=study.pixels)

    @cached_property
    def classifier(self) -> OutOfFold | None:
        """A classifier of some photographs of each class, fitted by folds."""
        prepared = self.plan.prepared
        some = _some_of_each(prepared.train, _READ, prepared.study.study_seed)
        labels, groups = (some.table[name].to_numpy(str) for name in ("label", "group_id"))
        features = self.extractor(some, prepared.study.cache)
        return OutOfFold.fit(features, labels, groups, prepared.study.study_seed)

    def planted(self, label: str) -> dict[str, Pixels]:
        """Changed copies of photographs of a class, by change; the last went through the base's autoencoder."""
        study = self.plan.prepared.study
        some = _some_of_each(self.plan.prepared.train.of(label), _PLANTED, study.study_seed)
        pixels = load_pixels(some, study.pixels, study.cache)
        changed = {change: planted(pixels, change, study.study_seed) for change in CHANGES}
        vae = load_base(self.plan.base).vae.to(devices.default_device())
        return {**changed, "through the autoencoder": reconstruct(vae, pixels)}

    def pixels(self, part: Manifest) -> Pixels:
        """Images as they are compared."""
        study = self.plan.prepared.study
        return load_pixels(part, _compared(study), study.cache)

    def _photographs(self, part: Manifest) -> gate.Photographs:
        labels, groups, lesions = (part.table[name].to_numpy(str) for name in ("label", "group_id", "lesion_id"))
        return gate.Photographs(pixels=self.pixels(part), labels=labels, groups=groups, lesions=lesions)


def _judge(parts: _Parts, label: str, folder: Path) -> None:
    """Write what was found of each image of a class, and what the limits rest on."""
    prepared = parts.plan.prepared
    study = prepared.study
    made = images.of_class(parts.plan, label)
    control = gate.copy_control(parts.train, label, parts.planted(label), study.study_seed)
    classifier = parts.classifier
    own = None if classifier is None else parts.extractor(made, study.cache)
    limits = Limits.of(load_pixels(prepared.train.of(label), study.pixels, study.cache))
    found = gate.select(
        files=(np.asarray(read_rgb(path, study.pixels.size)) for path in made.paths()),
        images=parts.pixels(made),
        train=parts.train,
        evaluation=parts.held_out,
        copies_above=control.limit,
        limits=limits,
        own_probability=None
        if classifier is None or own is None
        else classifier.predict(own)[:, classifier.classes.index(label)],
        least_probability=0.0 if classifier is None else classifier.limit(label),
    )
    write_text(folder / TABLE, csv_text(_table(parts, made, found)))
    record: dict[str, Any] = {"made": len(made), "kept": int(found.kept.sum()), "wanted": prepared.fill_counts[label]}
    record |= {"refused": found.counts(), "copies": control.to_record(), "defects": vars(limits)}
    write_json(folder / RECORD, {**record, "classifier": _classifier_record(parts, label)})


def _table(parts: _Parts, made: Manifest, found: gate.Selection) -> pd.DataFrame:
    """gate.csv: a row an image."""
    columns: dict[str, Any] = {
        "file_name": ["images/" + Path(path).name for path in made.table["path"]],
        "kept": np.where(found.kept, "yes", "no"),
        "reasons": ["; ".join(reasons) for reasons in found.reasons],
    }
    tables = {"train": parts.plan.prepared.train.table, "held_out": parts.held_out_table.table}
    for name, near in (("train", found.train), ("held_out", found.evaluation)):
        columns[f"{name}_image"] = [tables[name]["image_id"].iloc[row] if row >= 0 else "" for row in near.rows]
        if name == "held_out":
            columns["held_out_part"] = [tables[name]["part"].iloc[row] if row >= 0 else "" for row in near.rows]
        columns[f"{name}_similarity"] = near.similarity.round(4)
        columns[f"{name}_excess"] = near.excess.round(4)
    return pd.DataFrame({**columns, "own_probability": found.own_probability.round(4)})


def _classifier_record(parts: _Parts, label: str) -> dict[str, Any] | None:
    """What the classifier of photographs is worth: its recalls out of fold."""
    if (classifier := parts.classifier) is None:
        return None
    recalls = {name: round(recall, 4) for name, recall in classifier.recalls().items()}
    return {"features": parts.extractor.name, "recalls": recalls, "least_probability": classifier.limit(label)}


def read_images(plan: Plan, which: str) -> Manifest | None:
    """The images of all classes that the gate keeps ("kept"), or as many taken at random ("random"), up to the counts.

    The column `gate` holds the reasons for which an image is refused, or KEPT. None where there are none.
    """
    steps = plan.steps_of("gate")
    return Manifest.concat(*(_chosen(plan, step, which) for step in steps)) if steps else None


def _chosen(plan: Plan, step: Step, which: str) -> Manifest:
    label, made, table = step.what, images.of_class(plan, step.what), read_table(step.target / TABLE)
    kept = np.flatnonzero(table["kept"] == "yes")[: plan.prepared.fill_counts[label]]
    rng = np.random.default_rng(derive_seed(plan.prepared.study.generator_seed, label, "random"))
    rows = kept if which == "kept" else np.sort(rng.permutation(len(table))[: len(kept)])
    found = made.table.assign(
        gate=table["reasons"].where(table["kept"] == "no", KEPT).to_numpy(),
        lineage=made.table["lineage"] + f":gate {step.digest[:12]} {which}",
    )
    return Manifest(found.iloc[rows].reset_index(drop=True), made.roots)


def records(plan: Plan) -> dict[str, Any]:
    """What gate.json says of each class: how many images were made and kept, and why others are refused."""
    found = {step.what: read_record(step.target / RECORD) for step in plan.steps_of("gate")}
    return {
        label: {name: each[name] for name in ("made", "kept", "wanted", "refused")} for label, each in found.items()
    }


@dataclass(frozen=True)
class Pair:
    """A synthetic image and the train photograph that it is most like."""

    synthetic: Path
    real: Path


def nearest_pairs(plan: Plan, label: str, most: int) -> list[Pair]:
    """The images of a class that are nearest to a train photograph, the nearest first; refused ones among them."""
    step, made = plan.step("gate", label), images.of_class(plan, label)
    table, train = read_table(step.target / TABLE), plan.prepared.train
    paths = dict(zip(train.table["image_id"], train.paths(), strict=True))
    order = table["train_excess"].astype(float).sort_values(ascending=False, kind="stable").index
    rows = [row for row in order if table["train_image"][row]]
    return [Pair(made.paths()[row], paths[table["train_image"][row]]) for row in rows[:most]]


def _held_out(prepared: Prepared) -> dict[str, Manifest]:
    """What look-alikes are refused of: validation and test photographs, and those in no part."""
    parts = originals_of(prepared.split, prepared.images.manifest)
    return {name: part for name, part in parts.items() if name != "train"}


def _compared(study: StudyConfig) -> PixelConfig:
    """The pixels that images are compared in: the split's size, or the study's where that is smaller."""
    return replace(study.pixels, size=min(SIDE, study.pixels.size))


def _network(study: StudyConfig) -> tuple[str, str]:
    """Weights and architecture of the network that gives features."""
    config = study.classifier
    return (embedded.PHANTOMS, embedded.ARCHITECTURE) if config.weights == "none" else (config.weights, config.model)


def _some_of_each(part: Manifest, most: int, seed: int) -> Manifest:
    """At most so many rows of each class, drawn by the seed, in the table's order."""
    order = pd.Series(np.random.default_rng(seed).permutation(len(part)))
    place = order.groupby(part.table["label"].to_numpy()).rank()
    return part.where(place <= most)
