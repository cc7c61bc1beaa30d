"""Synthetic images that another program made: a folder a class, or images beside a metadata.csv with their labels.

Who drew them and from what is not known here, so they are told apart from the images of this program's own generators
wherever they go, and those that are nearly a photograph of the study are found by looking.
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
from data.errors import DataError
from data.files.archives import class_folders
from data.manifest import COLUMNS, Manifest, read_table
from data.splits.duplicates import near_duplicates

METADATA = "metadata.csv"  # with the columns `file_name` and `label`, as `augment.generate` writes and `datasets` reads

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FolderArm:
    """An arm whose rare classes are filled up with images made elsewhere."""

    folder: str  # ~ and $VARIABLES are filled in
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "elsewhere"  # of the arm; a-z, 0-9, dashes


def read_elsewhere(arm: FolderArm, labels: Sequence[str]) -> Manifest:
    """Read all images of the folder as synthetic ones, sorted by path; each is a group of its own.

    `labels` are the study's. Raises DataError for a folder, row or label that cannot be used.
    """
    folder = _folder(arm)
    table = folder / METADATA
    rows = _listed(folder, table) if table.is_file() else _by_class(folder)
    strange = rows[~rows["label"].isin(labels)]
    if len(strange):
        label, place = strange["label"].iloc[0], strange["place"].iloc[0]
        near = difflib.get_close_matches(label, labels, n=1) or sorted(labels)
        raise DataError(f"{place}: the label {label!r} is none of the study's; rename it ({', '.join(near)}?)")
    rows = rows.sort_values("path", kind="stable").reset_index(drop=True)
    ids, root = f"{arm.name}:" + rows["path"], f"arm {arm.name}"
    columns: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "group_id": ids, "root": root}
    columns |= {"path": rows["path"], "label": rows["label"], "source": "synthetic", "lineage": "unknown"}
    return Manifest(pd.DataFrame(columns, dtype=str), {root: folder})


def choose(images: Manifest, wanted: Mapping[str, int], seed: int) -> Manifest:
    """Draw as many images of each class as are wanted, no image twice. Raises DataError for too few."""
    folder = ", ".join(str(folder) for folder in images.roots.values())
    table, parts = images.table, []
    for label, n in wanted.items():
        there = table[table["label"] == label]
        if len(there) < n:
            raise DataError(
                f"{folder}: {label!r} needs {n} images, as many as the other arms add, but {len(there)} are there; "
                "add some or lower fill_to"
            )
        parts.append(there.sample(n, random_state=np.random.default_rng(seed)).sort_index())
    idle = sorted(set(images.labels) - {label for label, n in wanted.items() if n})
    if idle:
        log.warning("%s: the images of %s are left out, since no arm adds to these classes", folder, ", ".join(idle))
    chosen: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else table.head(0)
    return Manifest(chosen, images.roots)


def copies(pixels: UInt8[np.ndarray, "n s s 3"], of: UInt8[np.ndarray, "m s s 3"]) -> list[tuple[int, int]]:
    """Find which images are nearly a photograph of `of`, turned or flipped too: pairs of rows, (image, photograph)."""
    groups = np.repeat(np.array([0, 1]), [len(pixels), len(of)])  # pairs within either are not looked at
    found = near_duplicates(np.concatenate([pixels, of]), groups, first=len(pixels))
    return [(int(made), int(photograph) - len(pixels)) for made, photograph in found]


def _folder(arm: FolderArm) -> Path:
    folder = Path(os.path.expandvars(arm.folder)).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; arm {arm.name!r} must name the folder of its images")
    return folder.resolve()


def _listed(folder: Path, table: Path) -> pd.DataFrame:
    """Rows of metadata.csv; every image that it names is there, once."""
    listed = read_table(table)
    for column in ("file_name", "label"):
        if column not in listed.columns:
            raise DataError(f"{table}: no column {column!r}; it has {', '.join(listed.columns)}")
    if listed.empty:
        raise DataError(f"{table}: has no rows; give a row an image")
    rows = pd.DataFrame({"path": listed["file_name"], "label": listed["label"]})
    rows["place"] = [f"{table}: row {number}" for number in range(2, len(rows) + 2)]
    for path, label, place in rows.itertuples(index=False):
        if not path or not label:
            raise DataError(f"{place}: has no {'label' if path else 'file_name'}; fill it in or remove the row")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise DataError(f"{place}: {path!r} leads out of the folder; move the image into it")
        if not (folder / path).is_file():
            raise DataError(f"{place}: no image {path!r} in {folder}; add it or remove the row")
    twice = rows[rows["path"].duplicated()]
    if len(twice):
        raise DataError(f"{twice['place'].iloc[0]}: names {twice['path'].iloc[0]!r} a second time; remove one")
    return rows


def _by_class(folder: Path) -> pd.DataFrame:
    """Take the name of each folder for the label of all images below it."""
    images = class_folders(folder)
    files = [(label, file, str(folder / label)) for label, found in images.items() for file in found]
    if not files:
        raise DataError(f"{folder}: holds neither {METADATA} nor a folder of images a class; arrange it so")
    rows = pd.DataFrame(files, columns=["label", "file", "place"])
    return rows.assign(path=[file.relative_to(folder).as_posix() for file in rows["file"]])
