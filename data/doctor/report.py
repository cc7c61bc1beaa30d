"""The doctor's report, and its text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from data.doctor.checks import most
from data.doctor.examination import ImageInfo
from data.doctor.findings import Findings
from data.errors import Fault
from data.manifest import COLUMNS, PART, Manifest
from data.sources.load import ROW
from data.sources.tables import UNKNOWN
from data.splits.split import Split, SplitConfig

_WIDTH = 80
_SHOWN = 5  # examples of one kind
_LONGEST = 24  # letters of a label in the table


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """The images with their leakage groups, and the findings; no manifest if the table cannot be used."""

    findings: Findings
    config: SplitConfig
    manifest: Manifest | None = None
    infos: Sequence[ImageInfo] = ()
    split: Split | None = None


def page(report: ValidationReport, config: str, seconds: float, *, every: bool = False) -> str:
    """The report as text; `every` lists all examples of a kind."""
    lines = [f"{config}:", ""]
    if report.manifest is not None and len(report.manifest):
        lines += [*_inventory(report.manifest, report.infos), "", *_classes(report, report.manifest), ""]
    for faults, title in ((report.findings.faults, "WRONG"), (report.findings.warnings, "worth knowing")):
        if faults:
            lines += [f"{title}:", "", *_listed(faults, every=every)]
    return "\n".join([*lines, *_wrapped(f"{_verdict(report)} It took {seconds:.0f} s.", "", "")])


def _inventory(manifest: Manifest, infos: Sequence[ImageInfo]) -> Iterator[str]:
    table = manifest.table
    known = [
        f"{n:,} {what}s" if (n := _count(table[f"{what}_id"])) else f"no {what}s known"
        for what in ("lesion", "patient")
    ]
    groups = table["group_id"].nunique()
    yield from _wrapped(
        f"{len(manifest):,} images, {known[0]}, {known[1]}; {groups:,} groups that a split keeps together", "  "
    )
    yield from _wrapped(f"sizes: {most(Counter(info.size for info in infos))}", "  ")
    modes = Counter(info.mode for info in infos).most_common()
    yield from _wrapped(f"coded as: {', '.join(f'{mode} ({n:,})' for mode, n in modes)}", "  ")
    others = [name for name in table.columns if name not in {*COLUMNS, PART, ROW}]
    if others:
        yield from _wrapped(f"further columns: {', '.join(_attribute(table[name]) for name in others)}", "  ")


def _count(ids: pd.Series[str]) -> int:
    return int(ids[ids != ""].nunique())


def _attribute(column: pd.Series[str]) -> str:
    unknown = int(column.str.casefold().isin(UNKNOWN).sum())
    return f"{column.name} ({unknown:,} unknown)" if unknown else str(column.name)


def _classes(report: ValidationReport, manifest: Manifest) -> Iterator[str]:
    """A line per class: its images and groups, and its images in each part of the split."""
    table = manifest.table
    parts = report.split.parts() if report.split else {}
    yield f"  {'class':<{_LONGEST}} {'images':>7} {'groups':>7}" + "".join(f"{name:>11}" for name in parts)
    for label in manifest.labels:
        rows = table[table["label"] == label]
        named = label if len(label) <= _LONGEST - 2 else f"{label[: _LONGEST - 5]}..."
        named += " *" if label in report.config.rare else ""
        yield _row(named, rows, (part.counts().get(label, 0) for part in parts.values()))
    yield _row("all", table, map(len, parts.values()))
    yield f"  * rare: gets synthetic images; generator trained on at most {report.config.shots} images"


def _row(named: str, rows: pd.DataFrame, counts: Iterable[int]) -> str:
    row = f"  {named:<{_LONGEST}} {len(rows):>7,} {rows['group_id'].nunique():>7,}"
    return row + "".join(f"{n:>11,}" for n in counts)


def _listed(faults: Sequence[Fault], *, every: bool) -> Iterator[str]:
    for number, fault in enumerate(faults, start=1):
        shown = fault.examples if every else fault.examples[:_SHOWN]
        hidden = len(fault.examples) - len(shown)
        shown = (f"{fault.where}:", *shown) if fault.where else shown
        for example, start in zip(shown, [f"{number:>3}. ", *["     "] * len(shown)], strict=False):
            yield from _wrapped(example, start)
        if hidden:
            yield f"     and {hidden:,} more (--all lists them)"
        if fault.fix:
            yield from _wrapped(f"-> {fault.fix}", "     ", "        ")
        yield ""


def _wrapped(text: str, first: str, later: str | None = None) -> list[str]:
    indent = " " * len(first) + "  " if later is None else later
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _verdict(report: ValidationReport) -> str:
    n = len(report.findings.faults)
    if not n:
        return "No fault was found."
    more = "" if report.manifest is not None else " Further checks need that fixed."
    return f"{n} {'fault' if n == 1 else 'faults'} to fix before a study.{more}"
