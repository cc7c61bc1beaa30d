"""Runs that are the repeats of one study: which they are, and that they divide the same images.

A study is repeated over study seeds, generator seeds and folds. Of the folds of one seed each image is tested once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from data.errors import InputError
from data.home import without_home
from reports.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Settings in which the runs of one study may differ, beside `split.fold`.
_OWN = ("name", "output_dir", "study_seeds", "generator_seeds", "is_repeat")
_COLUMNS = ["image_id", "label", "group_id"]


@dataclass(frozen=True)
class OneRepeat:
    """The run of one study seed, generator seed and fold."""

    run: RunFolder

    @property
    def seeds(self) -> tuple[int, int]:
        """Study seed and generator seed."""
        seeds = self.run.record["seeds"]
        return int(seeds["study_seed"]), int(seeds.get("generator_seed", seeds["study_seed"]))

    @property
    def fold(self) -> int | None:
        """The fold that it tests; None for a split that is no fold."""
        split = self.run.record["config"]["split"]
        return int(split["fold"]) if split["n_splits"] else None


def open_repeats(runs: Sequence[Path]) -> list[OneRepeat]:
    """Open the runs, sorted by study seed, generator seed and fold.

    Raises InputError where they are not of one study, where one is there twice or a fold is missing, and where folds of
    one seed test an image or a leakage group twice or an image never.
    """
    opened = sorted(map(OneRepeat, map(RunFolder.open, runs)), key=lambda one: (one.seeds, one.fold or 0))
    for other in opened[1:]:
        _refuse_another_study(opened[0].run, other.run)
    if len(opened) < 2:  # noqa: PLR2004
        raise InputError(f"{opened[0].run.path}: is one run; give the runs of every fold, or of several study seeds")
    by_seeds = by_draw(opened)
    _refuse_missing(by_seeds)
    parts = {one.run.path: _parts(one.run) for one in opened}
    _refuse_other_images(opened, [parts[one.run.path] for one in opened])
    for repeats in by_seeds:
        if len(repeats) > 1:
            _refuse_not_once(repeats[0].run, [parts[one.run.path] for one in repeats])
    return opened


def by_draw(repeats: Sequence[OneRepeat]) -> list[list[OneRepeat]]:
    """The repeats by study seed and generator seed: the folds of one, or one alone."""
    return [list(found) for _, found in groupby(repeats, key=lambda one: one.seeds)]


def titles(repeats: Sequence[OneRepeat]) -> list[str]:
    """Each repeat by what tells it from the others, e.g. "study seed 1, fold 2"."""
    seeds, generators, folds = (
        {one.seeds[0] for one in repeats}, {one.seeds[1] for one in repeats}, {one.fold for one in repeats},
    )  # fmt: skip
    found = []
    for one in repeats:
        seed = [f"study seed {one.seeds[0]}"] if len(seeds) > 1 else []
        generator = [f"generator seed {one.seeds[1]}"] if _has_own_generator(repeats) and len(generators) > 1 else []
        fold = [f"fold {one.fold}"] if len(folds) > 1 else []
        found.append(", ".join([*seed, *generator, *fold]))
    return found


def shared_config(repeats: Sequence[OneRepeat], name: str) -> dict[str, Any]:
    """The config of one study that has all these repeats."""
    config = repeats[0].run.record["config"]
    generators = _has_own_generator(repeats)
    folds = {one.fold for one in repeats}
    own = {
        "name": name,
        "study_seeds": list(dict.fromkeys(one.seeds[0] for one in repeats)),
        "generator_seeds": list(dict.fromkeys(one.seeds[1] for one in repeats)) if generators else [],
        "split": config["split"] | {"fold": None if len(folds) > 1 else folds.pop()},
    }
    return {key: own.get(key, value) for key, value in config.items() if key != "is_repeat"}


def _has_own_generator(repeats: Sequence[OneRepeat]) -> bool:
    """Whether some repeat has a generator seed beside its study seed."""
    return any(one.run.record["config"].get("generator_seeds") for one in repeats)


def _refuse_another_study(one: RunFolder, other: RunFolder) -> None:
    mine, theirs = (_flat(_shared(without_home(run.record["config"]))) for run in (one, other))
    differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    if differing:
        key = differing[0]
        values = f"{theirs.get(key)!r}, and {mine.get(key)!r} in {one.path}"
        raise InputError(f"{other.path}: is of another study: its {key} is {values}; run all repeats alike")


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all repeats of a study share."""
    shared = {name: value for name, value in config.items() if name not in _OWN}
    return shared | {"split": {name: value for name, value in config["split"].items() if name != "fold"}}


def _refuse_missing(by_seeds: Sequence[list[OneRepeat]]) -> None:
    """Refuse a repeat that is there twice, and folds that are not all there unless all repeats are of one fold."""
    if _has_own_generator(by_seeds[0] + by_seeds[-1]):
        _refuse_gaps([repeats[0] for repeats in by_seeds])
    several = len(by_seeds) > 1 and len({one.fold for one in chain.from_iterable(by_seeds)}) == 1
    for repeats in by_seeds:
        path, (seed, generator) = repeats[0].run.path, repeats[0].seeds
        n_splits = None if several else repeats[0].run.record["config"]["split"]["n_splits"]
        if not n_splits and len(repeats) > 1:
            raise InputError(
                f"{path}: study seed {seed} with generator seed {generator} is there {len(repeats)} times; give the "
                "run of each once"
            )
        times = Counter(one.fold for one in repeats)
        for fold in range(n_splits or 0):
            if times[fold] != 1:
                what = f"is there {times[fold]} times" if times[fold] else "is not among these runs"
                raise InputError(f"{path}: fold {fold} of {n_splits} {what}; give the run of each fold once")


def _refuse_gaps(firsts: Sequence[OneRepeat]) -> None:
    """Refuse study seeds of which one has generator seeds that another lacks."""
    of = {seed: {one.seeds[1] for one in found} for seed, found in groupby(firsts, key=lambda one: one.seeds[0])}
    every = set.union(*of.values())
    for seed, generators in of.items():
        if every - generators:
            raise InputError(
                f"{firsts[0].run.path}: study seed {seed} lacks the generator seed {min(every - generators)}, which "
                "another one has; give the run of each"
            )


def _parts(run: RunFolder) -> dict[str, pd.DataFrame]:
    folder = run.artifact("split")
    return {part: run.table(folder, f"{part}.csv", _COLUMNS) for part in ("train", "validation", "test")}


def _refuse_other_images(repeats: Sequence[OneRepeat], parts: Sequence[dict[str, pd.DataFrame]]) -> None:
    """Refuse runs that divide other images than the first, or labelled or grouped otherwise."""
    rows = [set(pd.concat(found.values())[_COLUMNS].itertuples(index=False, name=None)) for found in parts]
    for one, found in zip(repeats[1:], rows[1:], strict=True):
        if found != rows[0]:
            raise InputError(
                f"{one.run.path}: divides other images than {repeats[0].run.path}, or labels or groups them otherwise, "
                f"first {min(found ^ rows[0])[0]!r}; run all repeats on the same images"
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
