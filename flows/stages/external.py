"""Images made by another program: as many as the arm needs, and none a copy of a validation or test image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.manifest import Manifest, contents_of, identity_of
from data.pixels import load_pixels
from data.progress import Progress
from data.sources.external import (
    ExternalArm,
    choices_of,
    choose_external,
    copy_names,
    external_provenance,
    find_copies,
    originals_of,
    refuse_copies,
)
from data.splits.provenance import Provenance
from data.store import write_json
from flows.inputs import inputs, settings
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages.split import DUPLICATES_SIZE
from flows.steps import DiskUse, Step

TABLE, RECORD = "chosen.csv", "external.json"


def plan(prepared: Prepared) -> tuple[Step, ...]:
    """A step for each arm of external images, which checks the chosen ones. Raises DataError for too few of them."""
    return tuple(_step(prepared, arm) for arm in prepared.study.external_arms)


def _step(prepared: Prepared, arm: ExternalArm) -> Step:
    study, images = prepared.study, prepared.images
    chosen, compared = choose(prepared, arm), originals_of(prepared.split, images.manifest)
    contents = contents_of(chosen, study.cache / "contents.json")
    depends = inputs(
        "external",
        arm=arm.name,
        images=identity_of(chosen, contents),
        parts={name: images.identity_of(part) for name, part in compared.items()},
        pixels=settings(study.pixels),
        provenance=provenance(chosen).to_record(),
        **_by_hand(chosen),
    )
    return Step(
        stage="external",
        what=arm.name,
        record=("external", arm.name),
        folder=study.folder / "external" / arm.name,
        inputs=depends,
        disk=DiskUse(pixel_sizes=(study.pixels.size, DUPLICATES_SIZE)),
        on_device=False,
    )


def make(plan: Plan, step: Step, folder: Path, progress: Progress) -> None:
    """Refuse copies of validation and test images, and write the table of what the arm trains on."""
    prepared = plan.prepared
    study = prepared.study
    (arm,) = (arm for arm in study.external_arms if arm.name == step.what)
    chosen, seen = choose(prepared, arm), provenance(choose(prepared, arm))
    load_pixels(chosen, study.pixels, study.cache, progress)  # one that cannot be read is refused here, before training
    compared = originals_of(prepared.split, prepared.images.manifest)
    small = replace(study.pixels, size=DUPLICATES_SIZE)  # the split's, so these are cached
    pixels = load_pixels(chosen, small, study.cache)
    found = {name: find_copies(pixels, load_pixels(part, small, study.cache)) for name, part in compared.items()}
    refuse_copies(chosen, compared, found)
    prepared.split.refuse_seen(seen, f"the generator of {root_of(chosen)}")
    chosen.write(folder / TABLE)
    contents = contents_of(chosen, study.cache / "contents.json")
    write_json(
        folder / RECORD,
        {
            "images": len(chosen),
            "different": len(set(contents.values())),
            "seen": sorted(seen.group_ids) if seen.is_complete else None,
            "copies_of_train": [copy_names(chosen, compared["train"], pair) for pair in found["train"]],
            **_by_hand(chosen),
        },
    )


def choose(prepared: Prepared, arm: ExternalArm) -> Manifest:
    """The images of an arm: as many of each rare class as the other arms add. Raises DataError."""
    labels, seed = prepared.images.manifest.labels, prepared.study.study_seed
    return choose_external(arm, labels, prepared.fill_counts, seed)


def provenance(chosen: Manifest) -> Provenance:
    """Provenance of their generator, as far as a record beside the images says."""
    return external_provenance(root_of(chosen))


def _by_hand(chosen: Manifest) -> dict[str, dict[str, int]]:
    """What a person decided, as an input and in the record; nothing where nobody chose."""
    choices = choices_of(root_of(chosen))
    return {} if choices is None else {"by_hand": choices}


def root_of(chosen: Manifest) -> Path:
    """The folder of the images."""
    (folder,) = chosen.roots.values()
    return folder


def read_images(plan: Plan, name: str) -> Manifest:
    """The images of an arm that passed the checks."""
    step = plan.step("external", name)
    (arm,) = (arm for arm in plan.prepared.study.external_arms if arm.name == name)
    return Manifest.read(step.target / TABLE, choose(plan.prepared, arm).roots)
