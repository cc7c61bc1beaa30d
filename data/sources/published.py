"""Data sets in the layouts that they are published in: what their tables, columns and image folders are called.

Names were read in the archives' own tools and in programs that load the files. Image folders may be the zips that
the archives hand out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from data.errors import DataError
from data.files.archives import is_file
from data.sources.tables import Columns, header_of

_ISIC_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")  # and UNK, which no training image is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One published form of a data set."""

    tables: tuple[str, ...]  # the table, by the names that it goes by
    columns: Columns
    further: tuple[str, ...] = ()  # tables joined to it by the image
    images: str = ""  # part of the name of its image folders or zips, in lower case; "" = all that lies below
    rename: Mapping[str, str] = field(default_factory=dict)


def _ground_truth(name: str) -> tuple[str, ...]:
    """Give the places where unpacking, or not unpacking, a challenge's zip leaves its table."""
    return (f"{name}.csv", f"{name}/{name}.csv", f"{name}.zip/{name}/{name}.csv", f"{name}.zip/{name}.csv")


def _challenge(name: str, labels: tuple[str, ...], further: str) -> Layout:
    """Lay out an ISIC challenge's training set; its labels are called here as in HAM10000."""
    return Layout(
        tables=_ground_truth(f"{name}_GroundTruth"),
        columns=Columns(image="image", one_hot=labels),
        further=(f"{name}_{further}.csv",),
        images=f"{name}_input".lower(),
        rename={label: label.lower() for label in labels},
    )


LAYOUTS: Mapping[str, Layout] = {
    "ham10000": Layout(
        tables=("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata"),
        columns=Columns(label="dx"),
        images="images_part",
    ),
    # Archive exports had one `diagnosis` until 2024, and `diagnosis_1` (coarse) to `diagnosis_5` (fine) since.
    "isic": Layout(
        tables=("metadata.csv",),
        columns=Columns(image="isic_id", label=("diagnosis", "diagnosis_3", "diagnosis_2", "diagnosis_1")),
    ),
    "isic2018": _challenge("ISIC2018_Task3_Training", _ISIC_2018, "LesionGroupings"),
    "isic2019": _challenge("ISIC_2019_Training", _ISIC_2019, "Metadata"),
}


def table_in(folder: Path, layout: Layout) -> Path:
    """Find the layout's table, and see that those which belong to it lie beside it. Raises DataError."""
    there = [folder / name for name in layout.tables if is_file(folder / name)]
    if not there:
        raise DataError(f"{folder}: no {layout.tables[0]} here; put the data set's table beside its image folders")
    for name in layout.further:
        if not is_file(folder / name):
            raise DataError(f"{folder}: no {name} here; it tells which images show one lesion, put it beside the table")
    return there[0]


def places_in(folder: Path, layout: Layout) -> list[str]:
    """Find the image folders or their zips, so that masks and the test set beside them are not taken for them."""
    named = [path for path in sorted(folder.iterdir()) if layout.images and layout.images in path.name.lower()]
    folders = [path.name for path in named if path.is_dir()]
    zips = [path.name for path in named if path.suffix.lower() == ".zip" and path.stem not in folders]
    return folders + zips or ["."]


def table_named(folder: Path, name: str) -> Path:
    """Find a challenge's or Dataverse's table by its name, also where unpacking, or not unpacking, has left it."""
    stem = Path(name).stem
    places = (name, *_ground_truth(stem), f"{stem}.tab", stem)
    return next((folder / place for place in places if is_file(folder / place)), folder / name)


def form_of_test(path: Path, columns: Columns) -> tuple[Columns, Mapping[str, str]]:
    """Tell the columns of a test table, and how its labels are called here.

    Both published forms of ISIC 2018's ground truth are known; any other has the data set's own columns.
    """
    header = set(header_of(path))
    dataverse, challenge = LAYOUTS["ham10000"], LAYOUTS["isic2018"]
    if {"image_id", "dx"} <= header:
        return dataverse.columns, dataverse.rename
    if {"image", *_ISIC_2018} <= header:
        return challenge.columns, challenge.rename
    return columns, {}
