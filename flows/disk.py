"""What a run will take of the disk, checked before anything is trained; a run that cannot fit is refused.

Kept when a run is done: an own base, an adapter a class, synthetic images, a classifier an arm and seed, tables
and report; and, for all runs of a folder, decoded pixels. Checkpoints, which hold weights and optimiser state in 32
bits, go when their step is finished. Artefacts of other settings stay until someone deletes the run.

Only steps that are not finished are counted. Available is the free space, plus what these steps have written already:
their partial folders, and pixels decoded at the sizes that they read.

It is an upper estimate. Not counted: images of phantoms, which are there by then, what a hub keeps outside
`output_dir`, and what is compiled for a GPU.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

from data.errors import InputError
from data.pixels import cache_bytes, cache_folder
from data.store import partial_of
from flows.plan import Plan, own_steps
from flows.steps import Step, StepResult
from flows.thumbnails import thumbnail_bytes

_KIB, _MIB = 2**10, 2**20


@dataclass(frozen=True, kw_only=True)
class DiskEstimate(StepResult):
    """Bytes that the rest of a run takes, and bytes that the disk has."""

    needed: Mapping[str, int]  # bytes, by kind
    there: int  # bytes of it that lie there already
    free: int  # bytes

    @property
    def outcome(self) -> str:
        """The estimate and the space, in one line."""
        return f"{in_words(self.needed, self.there)}; {size_in_words(self.free)} free in {self.folder}"

    @property
    def fits(self) -> bool:
        """Whether the disk holds the rest of the run."""
        return sum(self.needed.values()) <= self.free + self.there


def check_disk(*plans: Plan) -> DiskEstimate:
    """The estimate of a run that fits, of the plans of all its repeats. Raises InputError for one that does not."""
    found, folder = estimate(*plans), plans[0].prepared.study.output_dir
    if not found.fits:
        raise InputError(
            f"output_dir={folder}: this run takes {in_words(found.needed, found.there)}, and "
            f"{size_in_words(found.free)} is free there; free some, or set output_dir= to a folder on a larger disk"
        )
    return found


def estimate(*plans: Plan) -> DiskEstimate:
    """Bytes that the rest of a run takes at most, by kind, and the disk's free bytes; of all its repeats' plans.

    A step that several repeats share is counted once.
    """
    study = plans[0].prepared.study
    by_plan = [[step for step in own if not step.is_finished] for own in own_steps(plans)]
    left = list(chain.from_iterable(by_plan))
    decoded, tables = _decoded(plans, left), sum(map(_tables, plans))
    needed = by_kind(*by_plan) | {"decoded pixels": sum(decoded.values()), "tables and report": tables}
    needed = {kind: size for kind, size in needed.items() if size}
    begun = sum(_bytes_in(partial_of(step.target)) for step in left)
    cached = sum(min(size, _bytes_in(folder)) for folder, size in decoded.items())
    folder = Path(study.output_dir)
    return DiskEstimate(
        stage="disk",
        what="",
        seconds=0.0,
        reused=False,
        folder=folder,
        needed=needed,
        there=min(begun + cached, sum(needed.values())),
        free=shutil.disk_usage(_existing(folder)).free,
    )


def by_kind(*repeats: Sequence[Step]) -> dict[str, int]:
    """Bytes that these steps keep, by kind, and the checkpoints of the piece of work that holds most at a time."""
    needed: dict[str, int] = {}
    for step in chain.from_iterable(repeats):
        if step.disk.kept:
            needed[step.disk.kind] = needed.get(step.disk.kind, 0) + step.disk.kept
    groups = [list(steps) for left in repeats for _, steps in groupby(left, key=lambda step: step.group or step.id)]
    needed["checkpoints on the way"] = max((_checkpoints(steps) for steps in groups), default=0)
    return needed


def in_words(needed: Mapping[str, int], there: int = 0) -> str:
    """An estimate in words, the largest kinds first, and how much of it lies there already."""
    kinds = sorted(needed.items(), key=lambda kind: -kind[1])
    listed = ", ".join(f"{kind} {size_in_words(size)}" for kind, size in kinds)
    begun = f", of which {size_in_words(there)} lies there already" if there else ""
    return f"at most {size_in_words(sum(needed.values()))} by estimate ({listed}){begun}"


def _checkpoints(steps: Sequence[Step]) -> int:
    """Bytes of one checkpoint for each step that saves any, and of one more, which is written beside the old."""
    saving = [step.disk for step in steps if step.disk.checkpoints]
    again = [disk.checkpoint for disk in saving if disk.checkpoints > 1]
    return sum(disk.checkpoint for disk in saving) + max(again, default=0)


def _decoded(plans: Sequence[Plan], left: Sequence[Step]) -> dict[Path, int]:
    """The caches that are still asked for, and the bytes that they may come to hold."""
    study, made = plans[0].prepared.study, sum(plan.prepared.most_made for plan in plans)
    sizes = sorted({size for step in left for size in step.disk.pixel_sizes})
    n = len(plans[0].prepared.images.manifest) + made
    configs = [replace(study.pixels, size=size) for size in sizes]
    return {cache_folder(study.cache, config): cache_bytes(n, config) for config in configs}


def _tables(plan: Plan) -> int:
    """Split, records, contents, thumbnails and the report that holds them once more."""
    prepared = plan.prepared
    study, classes = prepared.study, len(prepared.images.manifest.labels)
    added = sum(sum(prepared.counts_of(arm).values()) for arm in study.arm_table.values())
    rows = len(prepared.images.manifest) + added
    return rows * 2 * _KIB + 2 * (1 + len(study.arms)) * classes * thumbnail_bytes() + 2 * _MIB


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.resolve(), *folder.resolve().parents) if place.is_dir())


def _bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder; files and folders that another run moves meanwhile are skipped."""
    found = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += (Path(inside) / name).stat().st_size
    return found


def size_in_words(size: int) -> str:
    """Decimal units, as disks are sold, with two digits."""
    for unit, bytes_ in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}" if size < 10 * bytes_ else f"{size / bytes_:.0f} {unit}"
    return f"{size / 1000:.0f} kB"
