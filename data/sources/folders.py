"""A folder of images per class, without a table: the folder's name is the label."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from data.errors import DataError, OnFault
from data.files.archives import class_folders, image_files, without_suffix
from data.files.unread import unread_in, warn_of_unread
from data.sources.tables import report

log = logging.getLogger(__name__)


def read_folders(folder: Path, root: str, on_fault: OnFault) -> pd.DataFrame:
    """One row per image, with the manifest's columns; each image is a group of its own. Raises DataError."""
    images, unread = class_folders(folder), unread_in(folder)
    if not images:
        raise DataError(f"{folder}: holds no folders; put the images of each class into a folder named after its label")
    for label in (label for label, files in images.items() if not files):
        others = [path for path in unread.files if path.startswith(f"{label}/")]
        why = f", but {len(others)} files of other endings, first {others[0]}" if others else ""
        report(on_fault, folder / label, [f"the label has no images{why}"], "add some or remove the folder")
    files = [(label, file.relative_to(folder).as_posix()) for label in images for file in images[label]]
    outside = len(image_files(folder)) - len(files)
    if outside:
        log.warning("%s: %d images lie beside the class folders and are left out", folder, outside)
    warn_of_unread(folder, unread)
    log.warning(
        "%s: folders name no patient or lesion, so each image is a group of its own; if several show one lesion, "
        "give a table that says so (`source: table`)",
        folder,
    )
    rows = pd.DataFrame(files, columns=["label", "path"]).assign(
        root=root, lesion_id="", patient_id="", source="real", lineage=""
    )
    rows["image_id"] = rows["group_id"] = rows["path"].map(without_suffix)
    twice = [list(same["path"])[:2] for _, same in rows.groupby("image_id") if len(same) > 1]
    report(on_fault, folder, (f"{one} and {other} differ in their suffix alone" for one, other in twice), "rename one")
    return rows[~rows["image_id"].duplicated()]
