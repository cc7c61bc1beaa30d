"""Removes the data set's images that runs have kept: decoded ones, thumbnails, and reports that hold thumbnails.

    python -m flows.clean [RUNS] [--yes]                    RUNS: the folder of runs, `output_dir` (default: runs)

Only files that this program writes are removed, by their names, and no link is followed. Artefacts stay: a run
that goes on decodes again what it needs. Artefacts of the base's autoencoder hold the images as it draws them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import filelock

from data.errors import InputError, exit_code
from data.pixels import cache_files
from flows.disk import size_in_words
from flows.show_plan import PLAN
from flows.study import REPEATS
from flows.thumbnails import FOLDER

_REAL = re.compile(r"(real-\d+|pair-\d+-(real|synthetic))\.jpg")  # as `flows.thumbnails` names them
_CODED = ("autoencoded", "probe-*")  # artefacts with the data set's images as the base's autoencoder draws them


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what would be removed, ask, remove it. Exit code 2 where a run is at work or nobody can be asked."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.clean", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="RUNS")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _clean(parsed.folder, agreed=parsed.yes))


def kept_images(folder: Path) -> dict[str, list[Path]]:
    """The files to be removed, by what they are. Raises InputError for a folder that holds no runs."""
    places = [place for place in sorted(folder.glob("*/")) if not place.is_symlink()]
    runs = [place for place in places if (place / PLAN).is_file()]
    pooled = [place for place in places if place not in runs and (place / "summary.json").is_file()]
    if not runs and not (folder / "cache").is_dir():
        raise InputError(f"{folder}: holds no runs; give the folder of runs, `output_dir` of their config")
    thumbs, reports = [], []
    for run in runs:
        records = (run, *sorted(run.glob(f"{REPEATS}/*/")))
        found = [path for place in records for path in _thumbnails(place / FOLDER)]
        thumbs += found
        reports += [place / "report.html" for place in records if found]
    reports += [place / "report.html" for place in pooled if thumbs]
    return {
        "decoded photographs": list(cache_files(folder / "cache")),
        "reports with photographs within": [path for path in reports if path.is_file() and not path.is_symlink()],
        "thumbnails": thumbs,
    }


def _thumbnails(folder: Path) -> Iterator[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return
    for label in sorted(folder.iterdir()):
        if label.is_dir() and not label.is_symlink():
            yield from (path for path in sorted(label.iterdir()) if _REAL.fullmatch(path.name) and path.is_file())


def _clean(folder: Path, *, agreed: bool) -> int:
    with _no_run_at_work(folder):
        found = {what: paths for what, paths in kept_images(folder).items() if paths}
        for what, paths in found.items():
            size = size_in_words(sum(path.lstat().st_size for path in paths))
            print(f"{what}: {len(paths):,} files, {size}, e.g. {paths[0]}")
        coded = [str(path) for pattern in _CODED for path in sorted(folder.glob(f"*/{pattern}/"))]
        if coded:
            print(f"these artefacts hold images of the data set too, and stay: {', '.join(coded)}")
        if not found:
            print(f"{folder}: nothing to remove")
        elif agreed or _agrees():
            _remove([path for paths in found.values() for path in paths])
            print("removed; `lesionloom report RUN` writes a report without photographs")
    return 0


def _agrees() -> bool:
    """What the user answers. Raises InputError where there is nobody to be asked."""
    if not sys.stdin.isatty():
        raise InputError("nothing was removed, since nobody can be asked here; give --yes")
    return input("remove them? [y/N] ").strip().lower() in ("y", "yes")


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths if path.name != "report.html"}:
        if not any(folder.iterdir()):
            folder.rmdir()


def _no_run_at_work(folder: Path) -> ExitStack:
    """Hold every lock below the folder. Raises InputError where somebody has one."""
    with ExitStack() as stack:
        for path in sorted([*folder.rglob(".*.lock"), *folder.glob("cache/pixels-*/lock")]):
            try:
                stack.enter_context(filelock.FileLock(path, timeout=0))
            except filelock.Timeout as fault:
                raise InputError(f"{folder}: a run is at work there ({path.name}); wait for it, or stop it") from fault
        return stack.pop_all()


if __name__ == "__main__":
    sys.exit(main())
