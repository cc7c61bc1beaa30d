"""Tell what a study's images are, and all that is wrong with them, each with its mend, before anything is trained.

    python -m data.doctor CONFIG [key=value ...]

reads the sections `data`, `pixels` and `split` of a study's config and every image, those of `arms` that were made
elsewhere too. It changes nothing (phantoms are drawn, as a study would).

Exit code: 0, or 2 for a fault that would stop a study or make it wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pydantic.dataclasses import dataclass as config_dataclass
from rich.console import Console

from data.config import STRICT, Seed, load_part
from data.doctor.checks import Notes, check_files, check_split, check_twins, check_unused, in_parts
from data.doctor.examination import examine
from data.doctor.external_checks import Photographs, check_arm
from data.doctor.report import Diagnosis, page
from data.errors import DataError, exit_code
from data.pixels import PixelConfig
from data.progress import Progress, progress_bar
from data.sources.external import FolderArm
from data.sources.load import DataConfig, numbered_manifest
from data.splits.class_counts import fill_counts
from data.splits.duplicates import known_groups, link, near_duplicates
from data.splits.split import Split, SplitConfig


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class DoctorConfig:
    """What the doctor reads of a study's config; its defaults are the study's."""

    study_seed: Seed = 0
    data: DataConfig = DataConfig()
    pixels: PixelConfig = PixelConfig()
    split: SplitConfig = SplitConfig()
    arms: tuple[FolderArm | str, ...] = ("real", "oversampled", "synthetic")  # only folders are looked at
    fill_to: int | None = None
    runs: str = "runs"  # phantoms are drawn there


class Watching(Protocol):
    """Opens a `Progress` on a piece of work of this title."""

    def __call__(self, title: str) -> AbstractContextManager[Progress]:
        """Open it."""


def examine_data(config: DoctorConfig, watching: Watching) -> Diagnosis:
    """Read table and images, look for all that is wrong, and divide the images as the study would."""
    notes = Notes()
    with _warnings(notes):
        try:
            with watching("drawing phantoms" if config.data.source == "phantom" else "reading the table") as watch:
                read = numbered_manifest(config.data, Path(config.runs) / "data", watch, notes.faults.append)
        except DataError as fault:
            notes.faults.append(in_parts(str(fault)))
            return Diagnosis(notes=notes, config=config.split)
        with watching("reading images") as watch:
            manifest, looks, pixels = examine(read, config.pixels, watch, notes.faults.append)
        with watching("looking for near-duplicates") as watch:
            duplicates = near_duplicates(pixels, known_groups(manifest), watch)
        joined, _ = link(manifest, duplicates)
        check_twins(manifest, looks, duplicates, notes)
        check_files(manifest, looks, config.pixels, notes)
        if config.data.source == "table":
            check_unused(read, notes)
        split = check_split(joined, config.split, config.study_seed, notes, config.fill_to)
        if split is not None:
            photographs = Photographs(manifest=manifest, pixels=pixels)
            _check_arms(config, photographs, split, watching, notes)
    return Diagnosis(notes=notes, manifest=joined, looks=looks, split=split, config=config.split)


def _check_arms(config: DoctorConfig, photographs: Photographs, split: Split, watching: Watching, notes: Notes) -> None:
    wanted = fill_counts(split.train, config.split.rare, config.fill_to)
    for arm in config.arms:
        if isinstance(arm, FolderArm):
            with watching(f"looking at the images of arm {arm.name}") as watch:
                check_arm(arm, photographs, split, wanted, config.study_seed, config.pixels, watch, notes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data.doctor", description="Tell what a study's images are and what is wrong with them.",
        epilog="Exit code: 0, or 2 for a fault that would stop a study or make it wrong.",
    )  # fmt: skip
    parser.add_argument("config", type=Path, help="a study's YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over it, as for a study")
    parser.add_argument("--all", action="store_true", help="list every case, not the first few of each kind")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _told(given.config, given.overrides, every=given.all))


def _told(config: Path, overrides: Sequence[str], *, every: bool) -> int:
    messages = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    found = examine_data(load_part(DoctorConfig, config, overrides), lambda title: progress_bar(messages, title))
    print(page(found, str(config), seconds=time.perf_counter() - start, every=every))
    return 2 if found.notes.faults else 0


class _Remarks(logging.Handler):
    """Takes what the readers and the split warn of as remarks."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.remarks.append(in_parts(record.getMessage()))


@contextmanager
def _warnings(notes: Notes) -> Iterator[None]:
    ours, handler = logging.getLogger("data"), _Remarks(notes)
    propagated, ours.propagate = ours.propagate, False
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.propagate = propagated


if __name__ == "__main__":
    sys.exit(main())
