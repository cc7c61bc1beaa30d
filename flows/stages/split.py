"""The split: images joined into leakage groups, none of which is in two parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.manifest import Manifest
from data.pixels import load_pixels
from data.progress import Progress
from data.splits.duplicates import Links, leakage_groups
from data.splits.leakage import leakage_record, write_split
from data.splits.split import make_split
from flows.inputs import inputs, settings
from flows.prepared import Images
from flows.steps import Step
from flows.study import StudyConfig

DUPLICATES_SIZE = 64  # pixels of the images among which near-duplicates are searched


def plan(study: StudyConfig, images: Images) -> Step:
    """The step that divides the images. It does not depend on the base, nor on the size that models see."""
    geometry = study.pixels.geometry  # near-duplicates are searched in images of this geometry
    depends = inputs(
        "split",
        images=images.identity_of(images.manifest),
        split=settings(study.split, *(() if study.split.n_splits else ("n_splits", "fold"))),
        seed=study.study_seed,
        geometry=geometry,
        **({"bits": study.pixels.bits} if study.pixels.bits else {}),
    )
    folder = study.folder / "split"
    return Step(stage="split", what="", record=("split",), folder=folder, inputs=depends, on_device=False)


def make(study: StudyConfig, images: Images, folder: Path, progress: Progress) -> None:
    """Write train.csv, validation.csv, test.csv and leakage.json: groups joined, and what a random split would leak."""
    joined, links = _groups(study, images, progress)
    split = make_split(joined, study.split, study.study_seed)
    write_split(folder, split, leakage_record(joined, links, split, study.split, study.study_seed))


def _groups(study: StudyConfig, images: Images, progress: Progress) -> tuple[Manifest, Links]:
    """The images with their leakage groups; near-duplicates are searched once, whichever repeats divide the images."""
    geometry = study.pixels.geometry
    if geometry not in images.joined:
        small = replace(study.pixels, size=DUPLICATES_SIZE)
        pixels = load_pixels(images.manifest, small, study.cache, progress)
        images.joined[geometry] = leakage_groups(images.manifest, pixels)
    return images.joined[geometry]
