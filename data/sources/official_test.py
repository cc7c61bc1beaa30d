"""An official test set: images that stand as the test part, whatever the split's shares say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import Fault, OnFault, refuse
from data.manifest import COLUMNS, PART, Manifest
from data.sources.tables import Columns, check_rows, find_images


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OfficialTest:
    """The table of a published test set, and where its images lie."""

    table: str  # a row an image; relative to `folder`
    folder: str | None = None  # of the table and the images below it; None = that of the data set
    further: tuple[str, ...] = ()  # more tables of the same images
    leave_out: tuple[str, ...] = ()  # ids of images that are not to be used
    columns: Columns | None = None  # None = told from the header for ISIC 2018's, else as the data set's own


def hold_out(manifest: Manifest, path: Path, rows: pd.DataFrame, folder: Path, on_fault: OnFault = refuse) -> Manifest:
    """Mark the test set's images, and add those that the data set lacks; `part` is "test" for them, else empty.

    An image that both have keeps the data set's row, lesion and patient.
    """
    rows = _same_labels(manifest, path, check_rows(path, rows, on_fault), on_fault)
    ours = manifest.table.assign(**{PART: ""})
    ours.loc[ours["image_id"].isin(rows["image_id"]), PART] = "test"
    marked = Manifest(ours, manifest.roots)
    new = rows[~rows["image_id"].isin(ours["image_id"])]
    if new.empty:
        return marked
    found = find_images(path, new, folder, ["."], on_fault)
    root = next((name for name, known in manifest.roots.items() if known == folder), "test")
    added = new.loc[found.index].drop(columns="file").assign(root=root, path=found, **{PART: "test"})
    others = [name for name in added.columns if name not in COLUMNS]
    return Manifest.concat(marked, Manifest(added[[*COLUMNS, *others]], {root: folder}))


def _same_labels(manifest: Manifest, path: Path, rows: pd.DataFrame, on_fault: OnFault) -> pd.DataFrame:
    """Keep the rows whose label can be trained on, and is the data set's where that has the image as well."""
    ours = rows["image_id"].map(dict(zip(manifest.table["image_id"], manifest.table["label"], strict=True))).fillna("")
    strange, other = [], []
    for number, image, label, its in zip(rows.index, rows["image_id"], rows["label"], ours, strict=True):
        if label not in manifest.labels:
            strange.append(f"row {number} is {label!r}, a label that nothing can be trained on here")
        elif its not in {"", label}:
            other.append(f"row {number}: {image!r} is {label!r} here and {its!r} in the data set")
    there = f"`rename` it, or choose with `labels`; labels there: {', '.join(manifest.labels)}"
    for cases, mend in ((strange, there), (other, "mend one, or name the image under `leave_out`")):
        if cases:
            on_fault(Fault(str(path), tuple(cases), mend))
    return rows[rows["label"].isin(manifest.labels) & ((ours == "") | (ours == rows["label"]))]
