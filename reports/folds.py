"""Checks that runs are the folds of one cross-validation: one study, each image tested exactly once."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pandas as pd

from data.errors import InputError
from reports.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_OWN = ("name", "output_dir")  # settings in which the runs of one study may differ, beside `split.fold`
_COLUMNS = ["image_id", "label", "group_id"]


def open_folds(runs: Sequence[Path]) -> list[RunFolder]:
    """Open the runs, sorted by fold.

    Raises InputError where they are not all folds of one study, each there once, and where an image or a leakage
    group is tested by two of them or an image by none.
    """
    opened = sorted((RunFolder.open(run) for run in runs), key=_fold)
    for other in opened[1:]:
        _refuse_another_study(opened[0], other)
    _refuse_missing(opened)
    parts = [_parts(run) for run in opened]
    _refuse_other_images(opened, parts)
    _refuse_not_once(opened[0], parts)
    return opened


def shared_config(run: RunFolder) -> dict[str, Any]:
    """The settings that all folds of a study share."""
    config = {name: value for name, value in run.record["config"].items() if name not in _OWN}
    return config | {"split": {name: value for name, value in config["split"].items() if name != "fold"}}


def _fold(run: RunFolder) -> int:
    return int(run.record["config"]["split"]["fold"])


def _refuse_another_study(one: RunFolder, other: RunFolder) -> None:
    mine, theirs = (_flat(shared_config(run)) for run in (one, other))
    differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    if differing:
        key = differing[0]
        values = f"{theirs.get(key)!r}, and {mine.get(key)!r} in {one.path}"
        raise InputError(f"{other.path}: is of another study: its {key} is {values}; run all folds alike")


def _refuse_missing(runs: Sequence[RunFolder]) -> None:
    path, n_splits = runs[0].path, runs[0].record["config"]["split"]["n_splits"]
    if not n_splits:
        raise InputError(f"{path}: is no fold of a cross-validation; run each fold with split.n_splits and split.fold")
    times = Counter(map(_fold, runs))
    for fold in range(n_splits):
        if times[fold] != 1:
            what = f"is there {times[fold]} times" if times[fold] else "is not among these runs"
            raise InputError(f"{path}: fold {fold} of {n_splits} {what}; give the run of each fold once")


def _parts(run: RunFolder) -> dict[str, pd.DataFrame]:
    folder = run.artifact("split")
    return {part: run.table(folder, f"{part}.csv", _COLUMNS) for part in ("train", "validation", "test")}


def _refuse_other_images(runs: Sequence[RunFolder], parts: Sequence[dict[str, pd.DataFrame]]) -> None:
    """Refuse runs that divide other images than the first, or labelled or grouped otherwise."""
    rows = [set(pd.concat(found.values())[_COLUMNS].itertuples(index=False, name=None)) for found in parts]
    for run, found in zip(runs[1:], rows[1:], strict=True):
        if found != rows[0]:
            raise InputError(
                f"{run.path}: divides other images than {runs[0].path}, or labels or groups them otherwise, first "
                f"{min(found ^ rows[0])[0]!r}; run all folds on the same images"
            )


def _refuse_not_once(run: RunFolder, parts: Sequence[dict[str, pd.DataFrame]]) -> None:
    """Refuse folds of which two test an image or a leakage group, or none an image."""
    tested = [found["test"] for found in parts]
    for what, name in (("image", "image_id"), ("leakage group", "group_id")):
        counts = Counter(chain.from_iterable(set(part[name]) for part in tested))
        again = sorted(each for each, n in counts.items() if n > 1)
        if again:
            raise InputError(
                f"{run.path}: {what} {again[0]!r} is tested by more than one of these runs; run all folds with the "
                "same version of this program"
            )
    whole = set(pd.concat(parts[0].values())["image_id"])
    never = sorted(whole.difference(*(part["image_id"] for part in tested)))
    if never:
        raise InputError(f"{run.path}: image {never[0]!r} is tested by none of these runs; run all folds alike")


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
