"""Synthetic images that another program made: a folder per class, or images with a metadata.csv of their labels.

Their generator is unknown unless a generation.json beside them records it, so they are reported apart from the images
of this program's own generators, and searched for copies of the study's photographs.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import DataError, Fault
from data.files.archives import class_folders
from data.files.links import require_inside
from data.manifest import COLUMNS, Manifest, read_table
from data.splits.duplicates import near_duplicates
from data.splits.provenance import Provenance
from data.splits.split import Split
from data.store import read_json

METADATA = "metadata.csv"  # with the columns `file_name` and `label`, as `augment.generate` writes and `datasets` reads
GENERATION = "generation.json"  # of a folder that this program generated
CHOICES = "choices.json"  # of a set that a person chose on the page: how many images of each class
LEFT_OUT = "left-out"  # name of the images that share a leakage group with an official test set

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExternalArm:
    """An arm whose rare classes are filled up with external images."""

    folder: str  # ~ and $VARIABLES are filled in
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "external"  # of the arm; a-z, 0-9, dashes


def choose_external(arm: ExternalArm, labels: Sequence[str], wanted: Mapping[str, int], seed: int) -> Manifest:
    """Read the folder and sample as many images of each class as are wanted, none twice. Raises DataError."""
    return sample_external(read_external(arm, labels), wanted, seed)


def read_external(arm: ExternalArm, labels: Sequence[str]) -> Manifest:
    """All images of the folder as synthetic ones, sorted by path; each is a group of its own.

    `labels` are the study's. Raises DataError for a folder, row or label that cannot be used.
    """
    folder = folder_of(arm)
    table = folder / METADATA
    rows = _from_metadata(folder, table) if table.is_file() else _by_class(folder)
    unknown = rows[~rows["label"].isin(labels)]
    if len(unknown):
        label, place = unknown["label"].iloc[0], unknown["place"].iloc[0]
        near = difflib.get_close_matches(label, labels, n=1) or sorted(labels)
        raise DataError(f"{place}: the label {label!r} is none of the study's; rename it ({', '.join(near)}?)")
    rows = rows.sort_values("path", kind="stable").reset_index(drop=True)
    ids, root = f"{arm.name}:" + rows["path"], f"arm {arm.name}"
    columns: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "group_id": ids, "root": root}
    columns |= {"path": rows["path"], "label": rows["label"], "source": "synthetic", "lineage": "unknown"}
    return Manifest(pd.DataFrame(columns, dtype=str), {root: folder})


def sample_external(images: Manifest, wanted: Mapping[str, int], seed: int) -> Manifest:
    """A random sample of as many images of each class as are wanted, none twice. Raises DataError for too few."""
    folder = ", ".join(str(folder) for folder in images.roots.values())
    table, parts = images.table, []
    for label, n in wanted.items():
        available = table[table["label"] == label]
        if len(available) < n:
            raise DataError(
                f"{folder}: {label!r} needs {n} images, as many as the other arms add, but {len(available)} are there; "
                "add some or lower fill_to"
            )
        parts.append(available.sample(n, random_state=np.random.default_rng(seed)).sort_index())
    unused = sorted(set(images.labels) - {label for label, n in wanted.items() if n})
    if unused:
        log.warning("%s: the images of %s are left out, since no arm adds to these classes", folder, ", ".join(unused))
    chosen: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else table.head(0)
    return Manifest(chosen, images.roots)


def external_provenance(folder: Path) -> Provenance:
    """What the generator of a folder's images was trained on; unknown without a record in generation.json.

    Raises DataError for one that is damaged.
    """
    try:
        record = read_json(folder / GENERATION)
        return Provenance.from_record(record["provenance"]) if "provenance" in record else Provenance.unknown()
    except FileNotFoundError:
        return Provenance.unknown()
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(
            f"{folder / GENERATION}: is damaged ({fault}); copy it anew, or remove it: the generator is unknown then"
        ) from fault


def choices_of(folder: Path) -> dict[str, int] | None:
    """How many images of the folder a person accepted by eye, and how many they rejected; None: nobody chose.

    Raises DataError for a record that cannot be read: a choice by eye must not pass in silence.
    """
    path = folder / CHOICES
    if not path.is_file():
        return None
    try:
        classes = read_json(path)["classes"].values()
        return {kind: sum(int(each[kind]) for each in classes) for kind in ("accepted", "rejected")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise DataError(f"{path}: is not as the page wrote it; restore it") from fault


def originals_of(split: Split, images: Manifest) -> dict[str, Manifest]:
    """What external images may be copies of: the split's parts and the images in no part, by name.

    `images` are all of the data set's.
    """
    if not split.left_out:
        return split.parts()
    return {**split.parts(), LEFT_OUT: images.where(images.table["image_id"].isin(split.left_out))}


def find_copies(pixels: UInt8[np.ndarray, "n s s 3"], of: UInt8[np.ndarray, "m s s 3"]) -> list[tuple[int, int]]:
    """The images that are near-duplicates of a photograph in `of`, rotated or flipped too: (image, photograph) rows."""
    groups = np.repeat(np.array([0, 1]), [len(pixels), len(of)])  # pairs within either are not compared
    found = near_duplicates(np.concatenate([pixels, of]), groups, first=len(pixels))
    return [(int(image), int(photograph) - len(pixels)) for image, photograph in found]


def copy_names(chosen: Manifest, originals: Manifest, pair: tuple[int, int]) -> tuple[str, str]:
    """The path of an external image and the id of the photograph that it copies."""
    return str(chosen.paths()[pair[0]]), str(originals.table["image_id"].iloc[pair[1]])


def copies_fault(copies: Sequence[tuple[str, str]], part: str, where: str = "") -> Fault:
    """The fault of images that copy photographs of a part that evaluates the classifier; both are given by name."""
    return Fault(
        where,
        tuple(f"{image}: shows nearly the same as {photograph} of the {part} part" for image, photograph in copies),
        "its generator has seen images that evaluate the classifier: make the images anew from the train part alone",
    )


def refuse_copies(
    chosen: Manifest, originals: Mapping[str, Manifest], found: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
    """Raise DataError for copies of images outside the train part; pairs as of `find_copies`, by the part's name."""
    for name in ("validation", "test", LEFT_OUT):
        if found.get(name):
            copies = [copy_names(chosen, originals[name], pair) for pair in found[name]]
            raise DataError(str(copies_fault(copies, name)))


def folder_of(arm: ExternalArm) -> Path:
    """The folder, with `~` and environment variables expanded. Raises DataError where there is none."""
    folder = Path(os.path.expandvars(arm.folder)).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; arm {arm.name!r} must name the folder of its images")
    return folder.resolve()


def _from_metadata(folder: Path, table: Path) -> pd.DataFrame:
    """Rows of metadata.csv; every image that it names exists, and is named once."""
    metadata = read_table(table)
    for column in ("file_name", "label"):
        if column not in metadata.columns:
            raise DataError(f"{table}: no column {column!r}; it has {', '.join(metadata.columns)}")
    if metadata.empty:
        raise DataError(f"{table}: has no rows; give a row an image")
    rows = pd.DataFrame({"path": metadata["file_name"], "label": metadata["label"]})
    rows["place"] = [f"{table}: row {number}" for number in range(2, len(rows) + 2)]
    for path, label, place in rows.itertuples(index=False):
        if not path or not label:
            raise DataError(f"{place}: has no {'label' if path else 'file_name'}; fill it in or remove the row")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise DataError(f"{place}: {path!r} leads out of the folder; move the image into it")
        if not (folder / path).is_file():
            raise DataError(f"{place}: no image {path!r} in {folder}; add it or remove the row")
        require_inside(folder / path, folder)
    twice = rows[rows["path"].duplicated()]
    if len(twice):
        raise DataError(f"{twice['place'].iloc[0]}: names {twice['path'].iloc[0]!r} a second time; remove one")
    return rows


def _by_class(folder: Path) -> pd.DataFrame:
    """Rows of all images below each sub-folder, whose name is their label."""
    images = class_folders(folder)
    files = [(label, file, str(folder / label)) for label, found in images.items() for file in found]
    if not files:
        raise DataError(f"{folder}: holds neither {METADATA} nor a folder of images a class; arrange it so")
    rows = pd.DataFrame(files, columns=["label", "file", "place"])
    return rows.assign(path=[file.relative_to(folder).as_posix() for file in rows["file"]])
