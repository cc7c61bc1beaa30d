"""An official test set, whose images are the test part whatever the split's shares are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import OnFault, refuse
from data.manifest import COLUMNS, PART, Manifest
from data.sources.row_checks import check_rows, find_images
from data.sources.tables import Columns, report


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OfficialTest:
    """The table of a published test set, and the folder of its images."""

    table: str  # one row per image; relative to `folder`
    folder: str | None = None  # of the table and the images below it; None = that of the data set
    extra_tables: tuple[str, ...] = ()  # of the same images
    exclude_ids: tuple[str, ...] = ()  # ids of images that are not used
    columns: Columns | None = None  # None = recognised by the header for ISIC 2018, else those of the data set


def hold_out(manifest: Manifest, path: Path, rows: pd.DataFrame, folder: Path, on_fault: OnFault = refuse) -> Manifest:
    """Add the test set's images that the data set lacks; `part` is "test" for all of them, else empty.

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
    """The rows whose label the data set has, and gives to the same image if it has that image too."""
    ours = rows["image_id"].map(dict(zip(manifest.table["image_id"], manifest.table["label"], strict=True))).fillna("")
    unknown, other = [], []
    for number, image, label, its in zip(rows.index, rows["image_id"], rows["label"], ours, strict=True):
        if label not in manifest.labels:
            unknown.append(f"row {number} is {label!r}, a label that nothing can be trained on here")
        elif its not in {"", label}:
            other.append(f"row {number}: {image!r} is {label!r} here and {its!r} in the data set")
    rename = f"rename it in `label_map`, or choose with `labels`; labels there: {', '.join(manifest.labels)}"
    report(on_fault, path, unknown, rename)
    report(on_fault, path, other, "correct one, or name the image in `exclude_ids`")
    return rows[rows["label"].isin(manifest.labels) & ((ours == "") | (ours == rows["label"]))]
