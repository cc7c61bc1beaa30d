"""What the doctor found, and how it is said in a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from data.doctor.checks import Notes, most
from data.doctor.examination import Look
from data.errors import Fault
from data.manifest import COLUMNS, PART, Manifest
from data.sources.load import ROW
from data.sources.tables import UNKNOWN
from data.splits.split import Split, SplitConfig

_WIDTH = 80
_SHOWN = 5  # cases of one kind
_LONGEST = 24  # letters of a label in the table


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The images with their leakage groups, and what was found; no manifest where the table cannot be used."""

    notes: Notes
    config: SplitConfig
    manifest: Manifest | None = None
    looks: Sequence[Look] = ()
    split: Split | None = None


def page(found: Diagnosis, config: str, seconds: float, *, every: bool = False) -> str:
    """Say what is there and what is wrong; `every` lists all cases of a kind."""
    lines = [f"{config}:", ""]
    if found.manifest is not None and len(found.manifest):
        lines += [*_inventory(found.manifest, found.looks), "", *_classes(found, found.manifest), ""]
    for notes, title in ((found.notes.faults, "WRONG"), (found.notes.remarks, "worth knowing")):
        if notes:
            lines += [f"{title}:", "", *_listed(notes, every=every)]
    return "\n".join([*lines, *_wrapped(f"{_verdict(found)} Looked for {seconds:.0f} s.", "", "")])


def _inventory(manifest: Manifest, looks: Sequence[Look]) -> Iterator[str]:
    table = manifest.table
    known = [
        f"{n:,} {what}s" if (n := _count(table[f"{what}_id"])) else f"no {what}s known"
        for what in ("lesion", "patient")
    ]
    groups = table["group_id"].nunique()
    yield from _wrapped(
        f"{len(manifest):,} images, {known[0]}, {known[1]}; {groups:,} groups that a split keeps together", "  "
    )
    yield from _wrapped(f"sizes: {most(Counter(look.size for look in looks))}", "  ")
    kinds = Counter(look.kind for look in looks).most_common()
    yield from _wrapped(f"coded as: {', '.join(f'{kind} ({n:,})' for kind, n in kinds)}", "  ")
    others = [name for name in table.columns if name not in {*COLUMNS, PART, ROW}]
    if others:
        yield from _wrapped(f"further columns: {', '.join(_attribute(table[name]) for name in others)}", "  ")


def _count(ids: pd.Series[str]) -> int:
    return int(ids[ids != ""].nunique())


def _attribute(column: pd.Series[str]) -> str:
    unknown = int(column.str.casefold().isin(UNKNOWN).sum())
    return f"{column.name} ({unknown:,} unknown)" if unknown else str(column.name)


def _classes(found: Diagnosis, manifest: Manifest) -> Iterator[str]:
    """Lay out a row a class: how much there is of it, and what each part of the split gets."""
    table = manifest.table
    parts = found.split.parts() if found.split else {}
    yield f"  {'class':<{_LONGEST}} {'images':>7} {'groups':>7}" + "".join(f"{name:>11}" for name in parts)
    for label in manifest.labels:
        rows = table[table["label"] == label]
        named = label if len(label) <= _LONGEST - 2 else f"{label[: _LONGEST - 5]}..."
        named += " *" if label in found.config.rare else ""
        yield _row(named, rows, (part.counts().get(label, 0) for part in parts.values()))
    yield _row("all", table, map(len, parts.values()))
    yield f"  * rare: gets synthetic images, learnt from at most {found.config.shots} of the train part"


def _row(named: str, rows: pd.DataFrame, counts: Iterable[int]) -> str:
    row = f"  {named:<{_LONGEST}} {len(rows):>7,} {rows['group_id'].nunique():>7,}"
    return row + "".join(f"{n:>11,}" for n in counts)


def _listed(notes: Sequence[Fault], *, every: bool) -> Iterator[str]:
    for number, note in enumerate(notes, start=1):
        shown = note.cases if every else note.cases[:_SHOWN]
        hidden = len(note.cases) - len(shown)
        shown = (f"{note.where}:", *shown) if note.where else shown
        for case, start in zip(shown, [f"{number:>3}. ", *["     "] * len(shown)], strict=False):
            yield from _wrapped(case, start)
        if hidden:
            yield f"     and {hidden:,} more (--all lists them)"
        if note.mend:
            yield from _wrapped(f"-> {note.mend}", "     ", "        ")
        yield ""


def _wrapped(text: str, first: str, later: str | None = None) -> list[str]:
    indent = " " * len(first) + "  " if later is None else later
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _verdict(found: Diagnosis) -> str:
    n = len(found.notes.faults)
    if not n:
        return "Nothing stands against a study."
    more = "" if found.manifest is not None else " What else there is can be told once that is mended."
    return f"{n} {'fault' if n == 1 else 'faults'} to mend before a study.{more}"
