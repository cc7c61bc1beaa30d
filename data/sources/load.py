"""Images as a manifest, from any source: phantoms, a published data set, a table of a folder, or a folder per class.

The layouts of HAM10000 and the ISIC data sets are in `published`; the steps here are those of every source.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from data import phantoms
from data.config import STRICT, to_dict
from data.errors import DataError, Fault, OnFault, refuse
from data.files.rules import MAX_FILE_BYTES, MAX_IMAGE_PIXELS, FileRules, use_rules
from data.manifest import COLUMNS, PART, Manifest
from data.phantoms.table import PhantomConfig, write_phantoms
from data.progress import Progress
from data.sources.folders import read_folders
from data.sources.official_test import OfficialTest, hold_out
from data.sources.published import LAYOUTS, Layout, form_of_test, places_in, table_in, table_named
from data.sources.row_checks import check_alike, check_labels, check_rows, exclude_images, find_images
from data.sources.tables import Columns, read_rows, report
from data.store import digest, file_sha256, make_once

ROW = "(row)"  # column with the table and the row in it that an image was read from

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and their table."""

    source: Literal["phantom", "ham10000", "isic", "isic2018", "isic2019", "table", "folders"] = "phantom"
    folder: str | None = None  # of the images, or their zips; ~ and $VARIABLES are filled in
    table: str | None = None  # separated by commas, tabs or semicolons; relative to `folder`
    extra_tables: tuple[str, ...] = ()  # of the same images, joined by the image column
    columns: Columns = Columns()  # of `table`; override the known ones of a published data set
    label_map: Mapping[str, str] = field(default_factory=dict)  # label in the table: label here
    labels: tuple[str, ...] = ()  # only these are kept; () = all
    exclude_ids: tuple[str, ...] = ()  # ids of images that are not used
    test: OfficialTest | None = None  # the test part; None: the split makes one
    phantom: PhantomConfig = PhantomConfig()
    max_image_pixels: Annotated[int, Field(ge=1)] = MAX_IMAGE_PIXELS  # of one image, before it is resized
    max_file_bytes: Annotated[int, Field(ge=1)] = MAX_FILE_BYTES  # of one image or table, unpacked from its zip
    follow_links: tuple[str, ...] = ()  # folders outside `folder` into which its symbolic links may lead

    def __post_init__(self) -> None:
        """Raises ValueError for a source without a folder or table, and for phantoms with a test set."""
        if self.source != "phantom" and not self.folder:
            raise ValueError(f"the source {self.source} needs `folder`, where its images lie")
        if self.source == "table" and not self.table:
            raise ValueError("the source table needs `table`, a CSV file with a row an image")
        if self.source == "phantom" and self.test:
            raise ValueError("phantoms have no table of a `test` set; set `phantom.test_lesions` to draw a test part")


def load_manifest(
    config: DataConfig,
    workdir: Path,
    progress: Progress | None = None,
    on_fault: OnFault = refuse,
) -> Manifest:
    """Read the configured table and find every image; phantoms are drawn below workdir, once.

    `group_id` is the group, patient, lesion or image, the first that is known; data.splits.duplicates makes
    leakage groups of them. The root is named as the source. Raises DataError for the first fault; with an
    `on_fault` that returns, faulty rows are left out, and only a source without usable rows raises.
    """
    manifest = numbered_manifest(config, workdir, progress, on_fault)
    return Manifest(manifest.table.drop(columns=ROW, errors="ignore"), manifest.roots)


def numbered_manifest(config: DataConfig, workdir: Path, progress: Progress | None, on_fault: OnFault) -> Manifest:
    """As `load_manifest`, with the extra column ROW if the source has a table."""
    return read_source(config, workdir, progress, on_fault).manifest


@dataclasses.dataclass(frozen=True)
class Source:
    """The images that can be used, and how many the source names of each label, those with faults too."""

    manifest: Manifest  # without images if all have faults
    named: Mapping[str, int]


def read_source(config: DataConfig, workdir: Path, progress: Progress | None, on_fault: OnFault) -> Source:
    """As `numbered_manifest`; a source whose images are all of one label raises only if no fault was reported."""
    use_rules(_rules(config))
    counted = _Counted(on_fault)
    if config.source == "phantom":
        table = _phantoms(config.phantom, workdir, progress)
        drawn = _from_table(config, table, ["images"], Layout(tables=(), columns=Columns(label="dx")), counted)
        renamed = drawn.manifest.table.rename(columns={f"table_{PART}": PART})
        return Source(Manifest(renamed, drawn.manifest.roots), drawn.named)
    folder = _folder(str(config.folder))
    if config.source == "folders":
        rows = _relabelled(config, str(folder), read_folders(folder, config.source, counted), counted)
        check_alike(folder, rows["label"], counted)
        read, columns = _source(config, rows, rows, folder, counted), config.columns
    else:
        path, places, layout = _published(config, folder)
        read, columns = _from_table(config, path, places, layout, counted, folder), layout.columns
    if not config.test or len(read.manifest.labels) < 2:  # noqa: PLR2004 - what was left out would be missed there
        return read
    return Source(_with_test(config, config.test, read.manifest, columns, counted), read.named)


class _Counted:
    """Passes faults on and counts them."""

    def __init__(self, on_fault: OnFault) -> None:
        self.on_fault, self.n = on_fault, 0

    def __call__(self, fault: Fault) -> None:
        self.n += 1
        self.on_fault(fault)


def _rules(config: DataConfig) -> FileRules:
    """What may be opened, from now on."""
    return FileRules(
        max_image_pixels=config.max_image_pixels,
        max_file_bytes=config.max_file_bytes,
        follow_links=tuple(_folder(name, "data.follow_links").resolve() for name in config.follow_links),
    )


def _phantoms(config: PhantomConfig, workdir: Path, progress: Progress | None) -> Path:
    """The table of the phantoms; they are drawn unless this version of the program has drawn them before."""
    program = [file_sha256(path) for path in sorted(Path(phantoms.__path__[0]).glob("*.py"))]
    inputs = {"phantom": to_dict(config), "program": digest(program)}
    folder = workdir / f"phantom-{digest(inputs)[:12]}"
    drawn = make_once(folder, inputs, lambda partial: write_phantoms(partial, config, progress=progress))
    return drawn / "metadata.csv"


def _folder(configured: str, key: str = "data.folder") -> Path:
    folder = Path(os.path.expandvars(configured)).expanduser()
    if "$" in str(folder):
        raise DataError(f"{folder}: that environment variable is not set; set it, or write the folder itself")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `{key}` must be a folder of images")
    return folder


def _published(config: DataConfig, folder: Path) -> tuple[Path, list[str], Layout]:
    """The table, the image folders and the layout; the config's names override the known ones of the data set."""
    if config.source == "table":
        return folder / str(config.table), ["."], Layout(tables=(), columns=config.columns)
    known = LAYOUTS[config.source]
    tables = (config.table,) if config.table else known.tables
    default = Columns()
    overrides = {key: value for key, value in vars(config.columns).items() if value != getattr(default, key)}
    layout = dataclasses.replace(known, tables=tables, columns=dataclasses.replace(known.columns, **overrides))
    return table_in(folder, layout), places_in(folder, layout), layout


def _from_table(
    config: DataConfig,
    path: Path,
    places: list[str],
    layout: Layout,
    on_fault: _Counted,
    folder: Path | None = None,
) -> Source:
    folder = folder or path.parent
    extra = [folder / name for name in (*layout.extra_tables, *config.extra_tables)]
    rows = _numbered(path, read_rows(path, extra, layout.columns, on_fault))
    rows = _relabelled(config, str(path), rows.assign(label=rows["label"].replace(layout.label_map)), on_fault)
    usable = check_rows(path, rows, on_fault)
    found = find_images(path, usable, folder, places, on_fault)
    usable = usable.loc[found.index].assign(root=config.source, path=found)
    return _source(config, rows, usable.drop(columns="file"), folder, on_fault)


def _with_test(
    config: DataConfig, test: OfficialTest, manifest: Manifest, columns: Columns, on_fault: OnFault
) -> Manifest:
    """The manifest with the images of the official test set."""
    folder = _folder(test.folder or str(config.folder))
    path = table_named(folder, test.table)
    columns, known = (test.columns, {}) if test.columns else form_of_test(path, columns)
    rows = _numbered(path, read_rows(path, [folder / name for name in test.extra_tables], columns, on_fault))
    rows = rows.assign(label=rows["label"].replace(known).replace(config.label_map))
    rows = exclude_images(path, rows, test.exclude_ids, on_fault)
    rows = rows[~rows["image_id"].isin(config.exclude_ids)]
    rows = rows[rows["label"].isin(config.labels)] if config.labels else rows
    joined = hold_out(manifest, path, rows, folder, on_fault)
    _refuse_mixed_lesion_ids(path, joined)
    return joined


def _numbered(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{ROW: [f"{path.name}, row {number}" for number in rows.index]})


def _relabelled(config: DataConfig, where: str, rows: pd.DataFrame, on_fault: OnFault) -> pd.DataFrame:
    """Exclude images, map labels, then keep the configured labels."""
    rows = exclude_images(where, rows, config.exclude_ids, on_fault)
    mapped = rows["label"].replace(config.label_map)
    for configured, present in ((tuple(config.label_map), set(rows["label"])), (config.labels, set(mapped))):
        for label in (label for label in configured if label not in present):
            near = difflib.get_close_matches(label, sorted(present), n=1) or sorted(present)
            report(on_fault, where, [f"the label {label!r} has no images"], f"labels there: {', '.join(near)}")
    rows = rows.assign(label=mapped)
    return rows[rows["label"].isin(config.labels)] if config.labels else rows


def _source(config: DataConfig, named: pd.DataFrame, rows: pd.DataFrame, folder: Path, on_fault: _Counted) -> Source:
    """The source of the rows that it names and of those that can be used so far."""
    rows = check_labels(folder, rows, on_fault)
    others = [name for name in rows.columns if name not in COLUMNS]
    manifest = Manifest(rows[[*COLUMNS, *others]].reset_index(drop=True), {config.source: folder})
    if len(manifest.labels) < 2 and not on_fault.n:  # noqa: PLR2004 - nothing to classify
        raise DataError(f"{folder}: all images are {', '.join(manifest.labels)!r}; there must be two labels at least")
    if len(manifest):
        _refuse_mixed_lesion_ids(folder, manifest)
    log.info("%s: %d images, %s", folder, len(manifest), manifest.counts())
    return Source(manifest, Counter(named["label"]))


def _refuse_mixed_lesion_ids(where: Path, manifest: Manifest) -> None:
    """Raise DataError for lesion ids of both the ISIC Archive and HAM10000: one lesion would count as two."""
    kinds = manifest.table["lesion_id"].str.extract(r"^(IL|HAM|HAMTEST)_", expand=False)
    if "IL" in set(kinds) and {"HAM", "HAMTEST"} & set(kinds):
        ours = [str(manifest.table["lesion_id"][(kinds == "IL") == archive].iloc[0]) for archive in (False, True)]
        raise DataError(
            f"{where}: lesion ids of two systems, such as {' and '.join(ours)}, which give one lesion two "
            "names; take all tables from one of them"
        )
