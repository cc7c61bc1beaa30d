"""Where images come from: the drawn phantoms, HAM10000, any table beside a folder, or a folder a class."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic.dataclasses import dataclass

import data
from data.config import STRICT, to_dict
from data.errors import DataError, Fault, OnFault, refuse
from data.manifest import COLUMNS, Manifest
from data.phantom import PhantomConfig, write_phantoms
from data.store import building, digest, file_sha256, finished
from data.tables import Columns, check_rows, find_images, image_files, read_rows, without_suffix

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and their table."""

    source: Literal["phantom", "ham10000", "table", "folders"] = "phantom"
    folder: str | None = None  # of the images; ~ and $VARIABLES are filled in
    table: str | None = None  # CSV, or separated by tabs or semicolons; relative to `folder`
    further: tuple[str, ...] = ()  # more tables of the same images, joined by the image column
    columns: Columns = Columns()  # of `table`; the other sources know theirs
    rename: Mapping[str, str] = field(default_factory=dict)  # a label as it is written: as it is called here
    labels: tuple[str, ...] = ()  # keep these alone; () = all
    phantom: PhantomConfig = PhantomConfig()

    def __post_init__(self) -> None:
        """Refuse a source that cannot know where to look."""
        if self.source != "phantom" and not self.folder:
            raise ValueError(f"the source {self.source} needs `folder`, where its images lie")
        if self.source == "table" and not self.table:
            raise ValueError("the source table needs `table`, a CSV file with a row an image")


def load_manifest(
    config: DataConfig,
    workdir: Path,
    progress: Callable[[int, int], None] | None = None,
    on_fault: OnFault = refuse,
) -> Manifest:
    """Read the configured table and find every image; phantoms are drawn below workdir, once.

    `group_id` is the group, patient, lesion or image, the first that is known; data.duplicates makes
    leakage groups of them. The one root is named as the source. Raises DataError for the first fault;
    with an `on_fault` that returns, rows at fault are left out, and only what leaves nothing to read raises.
    """
    if config.source == "phantom":
        table = _phantoms(config.phantom, workdir, progress)
        return _from_table(config, table, ["images"], Columns(label="dx"), on_fault)
    folder = _folder(config)
    if config.source == "ham10000":
        places = _ham10000_places(folder)
        return _from_table(config, _ham10000_table(config, folder), places, Columns(label="dx"), on_fault)
    if config.source == "table":
        return _from_table(config, folder / str(config.table), ["."], config.columns, on_fault, folder)
    return _from_folders(config, folder, on_fault)


def _phantoms(config: PhantomConfig, workdir: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Draw the phantoms, unless they are there as this version of the program draws them."""
    program = [file_sha256(path) for path in sorted(Path(data.__path__[0]).glob("phantom*.py"))]
    inputs = {"phantom": to_dict(config), "program": digest(program)}
    folder = workdir / f"phantom-{digest(inputs)[:12]}"
    if not finished(folder, inputs):
        with building(folder, inputs) as partial:
            write_phantoms(partial, config, progress=progress)
    return folder / "metadata.csv"


def _folder(config: DataConfig) -> Path:
    folder = Path(os.path.expandvars(str(config.folder))).expanduser()
    if "$" in str(folder):
        raise DataError(f"{folder}: that environment variable is not set; set it, or write the folder itself")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `data.folder` must be the folder of the images")
    return folder


def _ham10000_table(config: DataConfig, folder: Path) -> Path:
    """Find the table as Dataverse and Kaggle name it."""
    names = [config.table] if config.table else [f"HAM10000_metadata{suffix}" for suffix in (".csv", ".tab", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no {names[0]} here; put the data set's table beside its image folders")


def _ham10000_places(folder: Path) -> list[str]:
    """Find the image folders, so that masks and the test set beside them are not taken for them."""
    parts = [p.name for p in sorted(folder.iterdir()) if "images_part" in p.name.lower()]
    packed = [name for name in parts if name.lower().endswith(".zip") and name[:-4] not in parts]
    if packed:
        raise DataError(f"{folder / packed[0]}: is still packed; unpack it to the folder {packed[0][:-4]} beside it")
    return [name for name in parts if (folder / name).is_dir()] or ["."]


def _from_table(
    config: DataConfig,
    path: Path,
    places: list[str],
    columns: Columns,
    on_fault: OnFault,
    folder: Path | None = None,
) -> Manifest:
    folder = folder or path.parent
    further = [folder / name for name in config.further]
    rows = _chosen(config, str(path), read_rows(path, further, columns, on_fault), on_fault)
    rows = check_rows(path, rows, on_fault)
    found = find_images(path, rows, folder, places, on_fault)
    rows = rows.loc[found.index].assign(root=config.source, path=found)
    return _manifest(config, rows.drop(columns="file"), folder)


def _from_folders(config: DataConfig, folder: Path, on_fault: OnFault) -> Manifest:
    """Take the name of each folder for the label of all images below it."""
    classes = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith((".", "__"))]
    images = {place.name: image_files(place) for place in classes}
    if not images:
        raise DataError(f"{folder}: the label has no images; add some or remove the folder")
    for label in (label for label, files in images.items() if not files):
        on_fault(Fault(str(folder / label), ("the label has no images",), "add some or remove the folder"))
    files = [(label, file.relative_to(folder).as_posix()) for label in images for file in images[label]]
    loose = len(image_files(folder)) - len(files)
    if loose:
        log.warning("%s: %d images lie beside the class folders and are left out", folder, loose)
    log.warning("%s: folders tell no patient or lesion, so each image is a group of its own", folder)
    rows = pd.DataFrame(files, columns=["label", "path"]).assign(
        root=config.source, lesion_id="", patient_id="", source="real", lineage=""
    )
    rows["image_id"] = rows["group_id"] = rows["path"].map(without_suffix)
    twice = [list(same["path"])[:2] for _, same in rows.groupby("image_id") if len(same) > 1]
    if twice:
        cases = tuple(f"{one} and {other} differ in their ending alone" for one, other in twice)
        on_fault(Fault(str(folder), cases, "rename one"))
    rows = rows[~rows["image_id"].duplicated()]
    return _manifest(config, _chosen(config, str(folder), rows, on_fault), folder)


def _chosen(config: DataConfig, where: str, rows: pd.DataFrame, on_fault: OnFault) -> pd.DataFrame:
    """Rename labels, then keep those that are asked for."""
    for asked, present in (
        (tuple(config.rename), rows["label"]),
        (config.labels, rows["label"].replace(config.rename)),
    ):
        for label in asked:
            if label not in set(present):
                near = difflib.get_close_matches(label, sorted(set(present)), n=1) or sorted(set(present))
                fault = (f"the label {label!r} has no images",)
                on_fault(Fault(where, fault, f"labels there: {', '.join(near)}"))
    rows = rows.assign(label=rows["label"].replace(config.rename))
    return rows[rows["label"].isin(config.labels)] if config.labels else rows


def _manifest(config: DataConfig, rows: pd.DataFrame, folder: Path) -> Manifest:
    others = [name for name in rows.columns if name not in COLUMNS]
    manifest = Manifest(rows[[*COLUMNS, *others]].reset_index(drop=True), {config.source: folder})
    if len(manifest.labels) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise DataError(f"{folder}: all images are {', '.join(manifest.labels)!r}; there must be two labels at least")
    log.info("%s: %d images, %s", folder, len(manifest), manifest.counts())
    return manifest
