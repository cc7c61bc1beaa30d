"""A table of images, real or synthetic, with the folders that its paths are relative to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from data.errors import DataError, Fault, refuse
from data.files.archives import open_file, sha256_of, version_of
from data.spreadsheet import csv_text, plain_table
from data.store import digest, read_json, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = ("image_id", "root", "path", "label", "group_id", "lesion_id", "patient_id", "source", "lineage")
SOURCES = ("real", "synthetic")
PART = "part"  # extra column of data with an official test set: "test" for its images, else empty


@dataclass(frozen=True)
class Manifest:
    """Images in row order. Every column is text; paths are relative to `roots[root]`, so that a folder can move.

    `group_id` is the leakage group, which a split never divides; `lineage` says how a synthetic image was made and is
    empty for a real one.
    """

    table: pd.DataFrame
    roots: Mapping[str, Path]

    def __post_init__(self) -> None:
        """Raises DataError for missing columns, empty or repeated ids and labels that cannot name a folder."""
        missing = [name for name in COLUMNS if name not in self.table.columns]
        if missing:
            raise DataError(f"the table lacks the columns {', '.join(missing)}")
        for name in ("image_id", "path", "label", "group_id"):
            if (self.table[name] == "").any():
                row = int((self.table[name] == "").to_numpy().argmax())
                raise DataError(f"row {row + 1} has no {name}; every image needs one")
        paths = [label for label in self.labels if label in {".", ".."} or {"/", "\\"} & set(label)]
        if paths:  # a run writes a folder per class, never outside of it
            raise DataError(f"the label {paths[0]!r} cannot name a folder; give it another name in `data.label_map`")
        twice = self.table["image_id"][self.table["image_id"].duplicated()]
        if len(twice):
            raise DataError(f"{len(twice)} image ids appear twice, first {twice.iloc[0]!r}; ids must be unique")
        wrong = sorted(set(self.table["source"]) - set(SOURCES))
        if wrong:
            raise DataError(f"source is {wrong[0]!r}; it must be one of {', '.join(SOURCES)}")
        unknown = sorted(set(self.table["root"]) - set(self.roots))
        if unknown:
            raise DataError(f"no folder is known for the root {unknown[0]!r}; known: {', '.join(sorted(self.roots))}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.table)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels present, sorted."""
        return tuple(sorted(set(self.table["label"])))

    def counts(self) -> dict[str, int]:
        """Number of images of each label, in the labels' order."""
        return {label: int((self.table["label"] == label).sum()) for label in self.labels}

    def where(self, mask: pd.Series[bool]) -> Manifest:
        """The rows where the mask is True."""
        return Manifest(self.table[mask].reset_index(drop=True), self.roots)

    def first(self, count: int) -> Manifest:
        """At most so many rows, the first ones."""
        return Manifest(self.table.head(count).reset_index(drop=True), self.roots)

    def of(self, label: str) -> Manifest:
        """The rows of one class."""
        return self.where(self.table["label"] == label)

    @staticmethod
    def concat(*manifests: Manifest) -> Manifest:
        """All rows, one manifest after the other. Raises DataError if a root's name means two folders."""
        roots: dict[str, Path] = {}
        for manifest in manifests:
            for name, folder in manifest.roots.items():
                if roots.setdefault(name, folder) != folder:
                    raise DataError(f"the root {name!r} means both {roots[name]} and {folder}")
        table = pd.concat([m.table for m in manifests], ignore_index=True).fillna("")
        return Manifest(table, roots)

    def paths(self) -> list[Path]:
        """Full paths in row order."""
        pairs = zip(self.table["root"], self.table["path"], strict=True)
        return [self.roots[root] / path for root, path in pairs]

    def digest(self) -> str:
        """SHA-256 of the table's text; it does not depend on where its folders are."""
        return digest(list(self.table.columns), self.table.to_numpy().tolist())

    def write(self, path: Path) -> None:
        """Write the table as CSV, atomically; the roots are not stored and must be given to `read`."""
        write_text(path, csv_text(self.table))

    @staticmethod
    def read(path: Path, roots: Mapping[str, Path]) -> Manifest:
        """Read a manifest's CSV as text: `NA` is a label and `0012` an id."""
        return Manifest(read_table(path), roots)


def contents_of(manifest: Manifest, known: Path | None = None) -> dict[str, str]:
    """SHA-256 of every image's bytes, by id. Raises DataError.

    `known` is a JSON file of earlier results: a file with the same path, size and times is not read again.
    """
    before = _known(known)
    after, contents = dict(before), {}
    for image, path in zip(manifest.table["image_id"], manifest.paths(), strict=True):
        version = version_of(path)
        try:
            after[version] = contents[image] = before.get(version) or sha256_of(path)
        except OSError as fault:
            raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); restore it, or its rights") from fault
    if known and after != before:
        write_json(known, after)
    return contents


def _known(path: Path | None) -> dict[str, str]:
    """What the file of earlier results holds; nothing for one that is not there, or damaged."""
    try:
        found = read_json(path) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()) else {}


def identity_of(part: Manifest, contents: Mapping[str, str]) -> str:
    """Digest of a table and of its images' bytes, whose SHA-256 are given by id."""
    return digest(part.digest(), [contents[image] for image in part.table["image_id"]])


def read_table(path: Path, delimiter: str = ",") -> pd.DataFrame:
    """Read a table that this program wrote, every cell as text. Raises DataError, which names the file and row."""
    return plain_table(_read_csv(path, delimiter))


def _read_csv(path: Path, delimiter: str) -> pd.DataFrame:
    """All columns as text. Raises DataError, with row numbers as in a spreadsheet, where the header is row 1.

    Rows are read by `csv`: pandas shifts the columns silently if every row has one field too many.
    """
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
            header, *rows = list(csv.reader(file, delimiter=delimiter, strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault}); save it as CSV in UTF-8") from fault
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise DataError(f"{path}: the column {min(repeated)!r} appears twice; rename one")
    torn = {number: len(row) for number, row in enumerate(rows, start=2) if len(row) != len(header)}
    if torn:
        examples = (f"row {number} has {fields} fields, the header {len(header)}" for number, fields in torn.items())
        refuse(Fault(str(path), tuple(examples), "correct that row"))
    return pd.DataFrame(rows, columns=header, dtype=str)
