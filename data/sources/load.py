"""Where images come from: the drawn phantoms, a published data set, any table beside a folder, or a folder a class.

What is known of HAM10000 and the ISIC data sets stands in `published`; here is what any data set goes through.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic.dataclasses import dataclass

from data import phantoms
from data.config import STRICT, to_dict
from data.errors import DataError, Fault, OnFault, refuse
from data.files.archives import class_folders, image_files, without_suffix
from data.manifest import COLUMNS, Manifest
from data.phantoms.table import PhantomConfig, write_phantoms
from data.sources.official_test import OfficialTest, hold_out
from data.sources.published import LAYOUTS, Layout, form_of_test, places_in, table_in, table_named
from data.sources.tables import Columns, check_rows, find_images, less, read_rows
from data.store import building, digest, file_sha256, finished

ROW = "(row)"  # the column that tells from which table and row of it an image was read

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and their table."""

    source: Literal["phantom", "ham10000", "isic", "isic2018", "isic2019", "table", "folders"] = "phantom"
    folder: str | None = None  # of the images, or their zips; ~ and $VARIABLES are filled in
    table: str | None = None  # CSV, or separated by tabs or semicolons; relative to `folder`
    further: tuple[str, ...] = ()  # more tables of the same images, joined by the image column
    columns: Columns = Columns()  # of `table`; a published data set's are known, and what is named here goes first
    rename: Mapping[str, str] = field(default_factory=dict)  # a label as it is written: as it is called here
    labels: tuple[str, ...] = ()  # keep these alone; () = all
    leave_out: tuple[str, ...] = ()  # ids of images that are not to be used
    test: OfficialTest | None = None  # stands as the test part; None: the split cuts one off
    phantom: PhantomConfig = PhantomConfig()

    def __post_init__(self) -> None:
        """Refuse a source that cannot know where to look."""
        if self.source != "phantom" and not self.folder:
            raise ValueError(f"the source {self.source} needs `folder`, where its images lie")
        if self.source == "table" and not self.table:
            raise ValueError("the source table needs `table`, a CSV file with a row an image")
        if self.source == "phantom" and self.test:
            raise ValueError("phantoms have no official `test` set; take it out, or name the source of your images")


def load_manifest(
    config: DataConfig,
    workdir: Path,
    progress: Callable[[int, int], None] | None = None,
    on_fault: OnFault = refuse,
) -> Manifest:
    """Read the configured table and find every image; phantoms are drawn below workdir, once.

    `group_id` is the group, patient, lesion or image, the first that is known; data.splits.duplicates makes
    leakage groups of them. The one root is named as the source. Raises DataError for the first fault;
    with an `on_fault` that returns, rows at fault are left out, and only what leaves nothing to read raises.
    """
    manifest = numbered_manifest(config, workdir, progress, on_fault)
    return Manifest(manifest.table.drop(columns=ROW, errors="ignore"), manifest.roots)


def numbered_manifest(
    config: DataConfig, workdir: Path, progress: Callable[[int, int], None] | None, on_fault: OnFault
) -> Manifest:
    """Read what `load_manifest` does, with the further column ROW where there is a table."""
    if config.source == "phantom":
        table = _phantoms(config.phantom, workdir, progress)
        return _from_table(config, table, ["images"], Layout(tables=(), columns=Columns(label="dx")), on_fault)
    folder = _folder(str(config.folder))
    if config.source == "folders":
        manifest, columns = _from_folders(config, folder, on_fault), config.columns
    else:
        path, places, layout = _published(config, folder)
        manifest, columns = _from_table(config, path, places, layout, on_fault, folder), layout.columns
    return _with_test(config, config.test, manifest, columns, on_fault) if config.test else manifest


def _phantoms(config: PhantomConfig, workdir: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Draw the phantoms, unless they are there as this version of the program draws them."""
    program = [file_sha256(path) for path in sorted(Path(phantoms.__path__[0]).glob("*.py"))]
    inputs = {"phantom": to_dict(config), "program": digest(program)}
    folder = workdir / f"phantom-{digest(inputs)[:12]}"
    if not finished(folder, inputs):
        with building(folder, inputs) as partial:
            write_phantoms(partial, config, progress=progress)
    return folder / "metadata.csv"


def _folder(written: str) -> Path:
    folder = Path(os.path.expandvars(written)).expanduser()
    if "$" in str(folder):
        raise DataError(f"{folder}: that environment variable is not set; set it, or write the folder itself")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `data.folder` must be the folder of the images")
    return folder


def _published(config: DataConfig, folder: Path) -> tuple[Path, list[str], Layout]:
    """Find the table and the image folders; what the config names goes before what is known of the data set."""
    if config.source == "table":
        return folder / str(config.table), ["."], Layout(tables=(), columns=config.columns)
    known = LAYOUTS[config.source]
    tables = (config.table,) if config.table else known.tables
    default = Columns()
    named = {key: value for key, value in vars(config.columns).items() if value != getattr(default, key)}
    layout = dataclasses.replace(known, tables=tables, columns=dataclasses.replace(known.columns, **named))
    return table_in(folder, layout), places_in(folder, layout), layout


def _from_table(
    config: DataConfig,
    path: Path,
    places: list[str],
    layout: Layout,
    on_fault: OnFault,
    folder: Path | None = None,
) -> Manifest:
    folder = folder or path.parent
    further = [folder / name for name in (*layout.further, *config.further)]
    rows = _numbered(path, read_rows(path, further, layout.columns, on_fault))
    rows = _chosen(config, str(path), rows.assign(label=rows["label"].replace(layout.rename)), on_fault)
    rows = check_rows(path, rows, on_fault)
    found = find_images(path, rows, folder, places, on_fault)
    rows = rows.loc[found.index].assign(root=config.source, path=found)
    return _manifest(config, rows.drop(columns="file"), folder)


def _with_test(
    config: DataConfig, test: OfficialTest, manifest: Manifest, columns: Columns, on_fault: OnFault
) -> Manifest:
    """Join the official test set to the images."""
    folder = _folder(test.folder or str(config.folder))
    path = table_named(folder, test.table)
    columns, known = (test.columns, {}) if test.columns else form_of_test(path, columns)
    rows = _numbered(path, read_rows(path, [folder / name for name in test.further], columns, on_fault))
    rows = rows.assign(label=rows["label"].replace(known).replace(config.rename))
    rows = less(path, rows, test.leave_out, on_fault)
    rows = rows[~rows["image_id"].isin(config.leave_out)]
    rows = rows[rows["label"].isin(config.labels)] if config.labels else rows
    held = hold_out(manifest, path, rows, folder, on_fault)
    _one_system(path, held)
    return held


def _numbered(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{ROW: [f"{path.name}, row {number}" for number in rows.index]})


def _from_folders(config: DataConfig, folder: Path, on_fault: OnFault) -> Manifest:
    """Take the name of each folder for the label of all images below it."""
    images = class_folders(folder)
    if not images:
        raise DataError(f"{folder}: holds no folders; put the images of each class into a folder that bears its label")
    for label in (label for label, files in images.items() if not files):
        on_fault(Fault(str(folder / label), ("the label has no images",), "add some or remove the folder"))
    files = [(label, file.relative_to(folder).as_posix()) for label in images for file in images[label]]
    loose = len(image_files(folder)) - len(files)
    if loose:
        log.warning("%s: %d images lie beside the class folders and are left out", folder, loose)
    log.warning(
        "%s: folders tell no patient or lesion, so each image is a group of its own; if several show one lesion, "
        "give a table that says so (`source: table`)",
        folder,
    )
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
    """Leave out images, rename labels, then keep those that are asked for."""
    rows = less(where, rows, config.leave_out, on_fault)
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
    _one_system(folder, manifest)
    log.info("%s: %d images, %s", folder, len(manifest), manifest.counts())
    return manifest


def _one_system(where: Path, manifest: Manifest) -> None:
    """Refuse lesion ids of both the ISIC Archive and HAM10000: one lesion would count as two."""
    kinds = manifest.table["lesion_id"].str.extract(r"^(IL|HAM|HAMTEST)_", expand=False)
    if "IL" in set(kinds) and {"HAM", "HAMTEST"} & set(kinds):
        ours = [str(manifest.table["lesion_id"][(kinds == "IL") == archive].iloc[0]) for archive in (False, True)]
        raise DataError(
            f"{where}: lesion ids of two systems, such as {' and '.join(ours)}, which call the same lesion by two "
            "names; take all tables from one of them"
        )
