"""The one noun that travels: a table of images, real or synthetic, with the folders its paths start from."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from data.errors import DataError, Fault, OnFault, refuse
from data.files.archives import open_file
from data.store import digest, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = ("image_id", "root", "path", "label", "group_id", "lesion_id", "patient_id", "source", "lineage")
SOURCES = ("real", "synthetic")
PART = "part"  # a further column, of data with an official test set: "test" for its images, else empty


@dataclass(frozen=True)
class Manifest:
    """Images in row order. Every column is text; paths are relative to `roots[root]`, so that a folder can move.

    `group_id` is the leakage group (what may never stand on two sides of a split), `lineage` says how a
    synthetic image was made and is empty for a real one.
    """

    table: pd.DataFrame
    roots: Mapping[str, Path]

    def __post_init__(self) -> None:
        """Refuse what no stage could use: missing columns, empty or repeated ids, labels that name no folder."""
        missing = [name for name in COLUMNS if name not in self.table.columns]
        if missing:
            raise DataError(f"the table lacks the columns {', '.join(missing)}")
        for name in ("image_id", "path", "label", "group_id"):
            if (self.table[name] == "").any():
                row = int((self.table[name] == "").to_numpy().argmax())
                raise DataError(f"row {row + 1} has no {name}; every image needs one")
        paths = [label for label in self.labels if label in {".", ".."} or {"/", "\\"} & set(label)]
        if paths:  # each class has a folder of its own in a run, and nothing outside of that is to be written
            raise DataError(f"the label {paths[0]!r} cannot be the name of a folder; `rename` it under `data`")
        twice = self.table["image_id"][self.table["image_id"].duplicated()]
        if len(twice):
            raise DataError(f"{len(twice)} image ids stand twice, first {twice.iloc[0]!r}; ids must be unique")
        wrong = sorted(set(self.table["source"]) - set(SOURCES))
        if wrong:
            raise DataError(f"source is {wrong[0]!r}; it must be one of {', '.join(SOURCES)}")
        unknown = sorted(set(self.table["root"]) - set(self.roots))
        if unknown:
            raise DataError(f"no folder is known for the root {unknown[0]!r}; known: {', '.join(sorted(self.roots))}")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.table)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels present, sorted."""
        return tuple(sorted(set(self.table["label"])))

    def counts(self) -> dict[str, int]:
        """Images a label, in the labels' order."""
        return {label: int((self.table["label"] == label).sum()) for label in self.labels}

    def where(self, mask: pd.Series[bool]) -> Manifest:
        """Keep the rows for which the mask holds."""
        return Manifest(self.table[mask].reset_index(drop=True), self.roots)

    def of(self, label: str) -> Manifest:
        """Keep one class."""
        return self.where(self.table["label"] == label)

    @staticmethod
    def concat(*manifests: Manifest) -> Manifest:
        """One manifest after the other; a root's name must mean the same folder in all."""
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
        """SHA-256 of the table's text, wherever its folders stand."""
        return digest(list(self.table.columns), self.table.to_numpy().tolist())

    def write(self, path: Path) -> None:
        """Write the table as CSV, whole or not at all; the roots are the reader's to give."""
        write_text(path, self.table.to_csv(index=False, lineterminator="\n"))

    @staticmethod
    def read(path: Path, roots: Mapping[str, Path]) -> Manifest:
        """Read a manifest's CSV as text, so that `NA` stays a label and `0012` an id."""
        return Manifest(read_table(path), roots)


def read_table(path: Path, delimiter: str = ",") -> pd.DataFrame:
    """Read a table with a header, every cell as text. Raises DataError naming the file and row."""
    return numbered_table(path, delimiter).reset_index(drop=True)


def numbered_table(path: Path, delimiter: str = ",", on_fault: OnFault = refuse) -> pd.DataFrame:
    """Read a table as `read_table` does; its index numbers the rows as a spreadsheet does, the header being 1.

    pandas shifts columns in silence where every row has a field too many, so rows are read by `csv`.
    """
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
            header, *rows = list(csv.reader(file, delimiter=delimiter, strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault}); save it as CSV in UTF-8") from fault
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise DataError(f"{path}: the column {min(repeated)!r} stands twice; rename one")
    whole = {number: row for number, row in enumerate(rows, start=2) if len(row) == len(header)}
    torn = {number: len(row) for number, row in enumerate(rows, start=2) if number not in whole}
    if torn:
        cases = (f"row {number} has {fields} fields, the header {len(header)}" for number, fields in torn.items())
        on_fault(Fault(str(path), tuple(cases), "mend that row"))
    return pd.DataFrame(list(whole.values()), columns=header, index=list(whole), dtype=str)
