"""Published layouts of HAM10000 and the ISIC data sets: names of their tables, columns and image folders.

The names come from the archives' own tools and from programs that load the files. Image folders may be the zips
that the archives offer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from data.errors import DataError
from data.files.archives import is_file, is_unpacked
from data.sources.tables import Columns, header_of

_ISIC_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")  # and UNK, which no training image has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One published form of a data set."""

    tables: tuple[str, ...]  # file names that the table may have
    columns: Columns
    extra_tables: tuple[str, ...] = ()  # joined to it by the image
    images: str = ""  # part of the name of its image folders or zips, in lower case; "" = all images below
    label_map: Mapping[str, str] = field(default_factory=dict)


def _ground_truth(name: str) -> tuple[str, ...]:
    """The paths at which a challenge's table may be, with its zip unpacked or not."""
    return (f"{name}.csv", f"{name}/{name}.csv", f"{name}.zip/{name}/{name}.csv", f"{name}.zip/{name}.csv")


def _challenge(name: str, labels: tuple[str, ...], extra_table: str) -> Layout:
    """Layout of an ISIC challenge's training set; its labels get HAM10000's names."""
    return Layout(
        tables=_ground_truth(f"{name}_GroundTruth"),
        columns=Columns(image="image", one_hot=labels),
        extra_tables=(f"{name}_{extra_table}.csv",),
        images=f"{name}_input".lower(),
        label_map={label: label.lower() for label in labels},
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
    """The layout's table. Raises DataError if it or one of its extra tables does not exist."""
    there = [folder / name for name in layout.tables if is_file(folder / name)]
    if not there:
        raise DataError(f"{folder}: no {layout.tables[0]} here; put the data set's table beside its image folders")
    for name in layout.extra_tables:
        if not is_file(folder / name):
            raise DataError(f"{folder}: no {name} here; it lists which images show one lesion; put it beside the table")
    return there[0]


def places_in(folder: Path, layout: Layout) -> list[str]:
    """The image folders or their zips, without those of masks and of the test set."""
    named = [path for path in sorted(folder.iterdir()) if layout.images and layout.images in path.name.lower()]
    zips = [path.name for path in named if path.suffix.lower() == ".zip" and not is_unpacked(path)]
    read = {Path(name).stem for name in zips}
    folders = [path.name for path in named if path.is_dir() and path.name not in read]
    return folders + zips or ["."]


def table_named(folder: Path, name: str) -> Path:
    """The path of a challenge's or Dataverse's table, with its zip unpacked or not."""
    stem = Path(name).stem
    places = (name, *_ground_truth(stem), f"{stem}.tab", stem)
    return next((folder / place for place in places if is_file(folder / place)), folder / name)


def form_of_test(path: Path, columns: Columns) -> tuple[Columns, Mapping[str, str]]:
    """The columns of a test table, and the names of its labels here.

    Both published forms of ISIC 2018's ground truth are recognised; any other table has the data set's own columns.
    """
    header = set(header_of(path))
    dataverse, challenge = LAYOUTS["ham10000"], LAYOUTS["isic2018"]
    if {"image_id", "dx"} <= header:
        return dataverse.columns, dataverse.label_map
    if {"image", *_ISIC_2018} <= header:
        return challenge.columns, challenge.label_map
    return columns, {}
