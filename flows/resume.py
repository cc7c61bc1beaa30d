"""Lets fine-tunes that were stopped by request go on: the next run trains them from the step at which they stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import filelock

from augment.methods.record import RECORD, AdapterRecord
from data.errors import BaseError, InputError
from data.store import reopen

FOLDER = "finetune"  # within the run's folder


def resume(run: Path, labels: Sequence[str] = ()) -> dict[str, int]:
    """Make the stopped fine-tunes of these classes, or of all, unfinished; gives the step that each goes on from.

    Raises InputError where the run has none that was stopped, or none of one of these classes, and while the run is at
    work, as it may read what is made unfinished; then nothing is done.
    """
    resumed, place = _stopped(run, labels), run.resolve()
    try:
        with filelock.FileLock(place.with_name(f".{place.name}.lock"), timeout=0):
            for folder in resumed:
                _reopen(folder)
    except filelock.Timeout as fault:
        raise InputError(f"{run}: a run is at work there; wait for it, or end it") from fault
    return {record.label: record.steps for record in resumed.values()}


def _stopped(run: Path, labels: Sequence[str]) -> dict[Path, AdapterRecord]:
    """The stopped fine-tunes of these classes, or of all, by their folders."""
    found = {folder: record for folder, record in _records(run).items() if record.stopped is not None}
    known = sorted({record.label for record in found.values()})
    if not known:
        raise InputError(f"{run}: no fine-tune there was stopped by request; give the folder of a run that has one")
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise InputError(f"{run}: the fine-tune of {unknown[0]!r} was not stopped; name one of {', '.join(known)}")
    return {folder: record for folder, record in found.items() if not labels or record.label in labels}


def _records(run: Path) -> dict[Path, AdapterRecord]:
    """The records of the finished fine-tunes."""
    found = dict[Path, AdapterRecord]()
    for path in sorted(run.glob(f"{FOLDER}/*/{RECORD}")):
        try:
            if path.parent.suffix != ".partial":
                found[path.parent] = AdapterRecord.read(path.parent)
        except BaseError:  # damaged: the next run makes it anew
            continue
    return found


def _reopen(folder: Path) -> None:
    try:
        reopen(folder, RECORD)
    except filelock.Timeout as fault:
        raise InputError(f"{folder}: a process is at work there; wait for it, or end it") from fault
    except ValueError as fault:
        raise InputError(
            f"{folder}: its artifact.json is damaged; delete the folder to have it trained anew"
        ) from fault
