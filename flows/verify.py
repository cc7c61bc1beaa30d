"""Reads all that is finished and compares its SHA-256, whatever sizes and times say: a disk may change bytes alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.errors import DataError
from data.files.archives import sha256_of, version_of
from data.pixels import forget_pixels
from data.progress import Progress
from data.store import RECORD, damaged_files, read_json, write_json
from flows.steps import StepResult
from flows.study import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Verified(StepResult):
    """How many artefacts and images were read, and which were not as they had been written."""

    artefacts: int
    images: int
    damaged: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The counts, and what is made anew, in words."""
        read = f"{self.artefacts:,} artefacts and {self.images:,} images read, {self.seconds:.0f} s"
        changed = (
            f"not as they were written, made anew: {', '.join(self.damaged)}" if self.damaged else "all as written"
        )
        return f"{read}: {changed}"


def verify_run(study: StudyConfig, progress: Progress) -> Verified:
    """Verify a run's artefacts and phantoms, and the digests of its images; what is damaged is no longer finished."""
    start = time.perf_counter()
    records = sorted(path for root in _roots(study) for path in root.rglob(RECORD))
    damaged = []
    for done, record in enumerate(records, 1):
        if found := damaged_files(record.parent):
            damaged.append(f"{record.parent} ({', '.join(found)})")
            record.unlink(missing_ok=True)
        progress(done, len(records))
    images, changed = _verify_images(study.cache, progress)
    return Verified(
        stage="verify",
        what="",
        seconds=round(time.perf_counter() - start, 2),
        reused=False,
        folder=study.folder,
        artefacts=len(records),
        images=images,
        damaged=(*damaged, *changed),
    )


def _roots(study: StudyConfig) -> Iterator[Path]:
    yield study.folder
    if study.data.source == "phantom":
        yield study.cache.with_name("data")


def _verify_images(cache: Path, progress: Progress) -> tuple[int, list[str]]:
    """How many images' digests are known, and the images whose bytes changed though size and times did not."""
    known = _known(cache / "contents.json")
    changed = {}
    for done, (version, sha256) in enumerate(known.items(), 1):
        path = Path(version.rsplit("|", 3)[0])
        if _is_changed(path, version, sha256):
            changed[version] = str(path)
        progress(done, len(known))
    if changed:
        write_json(cache / "contents.json", {name: value for name, value in known.items() if name not in changed})
        forget_pixels(cache)
    return len(known), list(changed.values())


def _is_changed(path: Path, version: str, sha256: str) -> bool:
    try:
        return version_of(path) == version and sha256_of(path) != sha256
    except (DataError, OSError):  # it is not there any more, or of another data set
        return False


def _known(file: Path) -> dict[str, str]:
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError):
        return {}
