"""From a folder of images made elsewhere to an arm's share: as many as are wanted, none a copy of what judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.sources.external import FolderArm, choose, copies, read_elsewhere
from data.splits.provenance import SeenIds
from data.splits.split import Split
from data.store import read_json, write_json
from flows.prepare import Images, contents_of
from flows.steps import Step, Watch
from flows.study import StudyConfig, inputs, settings

TABLE, RECORD = "chosen.csv", "elsewhere.json"
LEFT_OUT = "left-out"  # images that share a leakage group with an official test set


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The images of one folder that an arm trains on, and the step that looks them over."""

    arm: FolderArm
    chosen: Manifest
    step: Step
    seen: SeenIds  # what a record beside the images names
    known: bool  # False: their generator may have seen more

    def read(self) -> Manifest:
        """Read what the step let through."""
        return Manifest.read(self.step.target / TABLE, self.chosen.roots)


def elsewhere_of(
    config: StudyConfig, arm: FolderArm, images: Images, split: Split, wanted: Mapping[str, int]
) -> Elsewhere:
    """Choose an arm's images and plan the step that refuses copies of validation and test images."""
    chosen = choose(read_elsewhere(arm, images.manifest.labels), wanted, config.study_seed)
    cache = Path(config.runs) / "cache"
    photographs = _photographs(images, split)
    contents = contents_of(chosen, cache / "contents.json")
    seen, known = _seen(chosen)
    depends = inputs(
        "folder",
        arm=arm.name,
        images=Images.identity(chosen, contents),
        parts={name: images.identity_of(part) for name, part in photographs.items()},
        pixels=settings(config.pixels),
        seen={**seen.record(), "in_full": known} if known or seen != SeenIds() else None,
    )

    def make(folder: Path, watch: Watch) -> None:
        load_pixels(chosen, config.pixels, cache, watch)  # one that cannot be read is met here, before any training
        found = _copies(config, chosen, photographs, cache)
        _refuse_copies(chosen, photographs, found)
        split.refuse_seen(seen, f"the generator of {chosen.roots[f'arm {arm.name}']}")
        chosen.write(folder / TABLE)
        write_json(
            folder / RECORD,
            {
                "images": len(chosen),
                "different": len(set(contents.values())),
                "seen": sorted(seen.group_ids) if known else None,
                "copies_of_train": [_pair(chosen, photographs["train"], pair) for pair in found["train"]],
            },
        )

    place = config.folder / "folder" / arm.name
    step = Step(stage="folder", what=arm.name, folder=place, inputs=depends, make=make, heavy=False)
    return Elsewhere(arm=arm, chosen=chosen, step=step, seen=seen, known=known)


def _photographs(images: Images, split: Split) -> dict[str, Manifest]:
    """Give what the made images are compared with: the parts, and what was left out for an official test set."""
    if not split.left_out:
        return split.parts()
    whole = images.manifest
    return {**split.parts(), LEFT_OUT: whole.where(whole.table["image_id"].isin(split.left_out))}


def _copies(
    config: StudyConfig, chosen: Manifest, photographs: Mapping[str, Manifest], cache: Path
) -> dict[str, list[tuple[int, int]]]:
    small = PixelConfig(size=64, geometry=config.pixels.geometry)  # the split's own, so the photographs are cached
    pixels = load_pixels(chosen, small, cache)
    return {name: copies(pixels, load_pixels(part, small, cache)) for name, part in photographs.items()}


def _refuse_copies(
    chosen: Manifest, photographs: Mapping[str, Manifest], found: Mapping[str, list[tuple[int, int]]]
) -> None:
    for name in ("validation", "test", LEFT_OUT):
        if found.get(name):
            image, photograph = _pair(chosen, photographs[name], found[name][0])
            n = len({made for made, _ in found[name]})
            raise DataError(
                f"{image}: shows nearly the same as {photograph} of the {name} part ({n} such images in all), so its "
                "generator has seen what judges the classifier; make the images anew from the train part alone"
            )


def _pair(chosen: Manifest, part: Manifest, pair: tuple[int, int]) -> tuple[str, str]:
    """Name a made image by its path and a photograph by its id."""
    return str(chosen.paths()[pair[0]]), str(part.table["image_id"].iloc[pair[1]])


def _seen(chosen: Manifest) -> tuple[SeenIds, bool]:
    """Tell what is behind a folder that this program drew, and whether that is all; nothing where no record says.

    It is not all where the generator's base may have seen more, as one from a hub.
    """
    (folder,) = chosen.roots.values()
    try:
        record: dict[str, Any] = read_json(folder / "generation.json")["seen"]
        return SeenIds.told(record), "group_ids" in record and record.get("base") != "unknown"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return SeenIds(), False
