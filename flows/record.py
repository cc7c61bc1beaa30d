"""What a run leaves beside its artifacts: run.json, thumbnails, and the report drawn from them."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from augment.base.config import BaseConfig, base_identity
from data.config import to_dict
from data.errors import InputError
from data.manifest import Manifest
from data.pixels import PixelConfig, read_image
from data.splits.split import Split
from data.store import read_json, temporary_of, write_json
from flows.elsewhere import Elsewhere
from flows.steps import COST, Done, Step
from flows.study import LIBRARIES, StudyConfig
from flows.synthesize import read_synthetic
from reports.render import write_report
from reports.schema import Summary
from reports.text import answer

THUMBS, EDGE = 12, 96  # images a class and source that the report may show; pixels


@dataclass(frozen=True, kw_only=True)
class Finding(Done):
    """The end of a run: the report's path, and its answer in a sentence."""

    report: Path
    summary: Path
    answer: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was done so far, to become run.json."""

    config: StudyConfig
    started: datetime
    artifacts: dict[str, Any] = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def base(self) -> BaseConfig:
        """The base as it is now: the study's own, once it is trained, by its folder."""
        own = self.artifacts.get("base")
        return self.config.base if own is None else BaseConfig(source=str(self.config.folder / own))

    def add(self, *keys: str, done: Done) -> None:
        """Note an artifact under its keys, and what it cost."""
        place = self.artifacts
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = done.folder.relative_to(self.config.folder).as_posix()
        cost = {"stage": done.stage, "what": done.what, "seconds": done.seconds, "reused": done.reused}
        self.timings.append(cost)

    def write(self, classes: tuple[str, ...]) -> None:
        """Write run.json."""
        config = self.config
        arm = config.folder / self.artifacts["arm"][config.arm_names[0]][str(config.seeds[0])]
        names = sorted({name for names in LIBRARIES.values() for name in names} | {"prefect"})
        run = {
            "name": config.name,
            "started": self.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": to_dict(config),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
            "machine": _machine() | {"device": read_json(arm / COST)["device"]},
            "seeds": {"study_seed": config.study_seed, "seeds": config.seeds},
            "base": base_identity(self.base),
            "regime": "limited" if config.split.limit_real_to_shots else "shots",
            "rare": config.split.rare,
            "arms": config.arm_names,
            "classes": classes,
            "artifacts": self.artifacts,
            "timings": self.timings,
        }
        write_json(config.folder / "run.json", run)


def report(record: Record, split: Split, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]) -> Finding:
    """Write run.json and thumbnails, then summary and report."""
    start = time.perf_counter()
    config = record.config
    _write_gallery(config, split, drawn, given)
    record.write(split.train.labels)
    page = write_report(config.folder)
    summary = config.folder / "summary.json"
    seconds = round(time.perf_counter() - start, 2)
    done = Done(stage="report", what="", seconds=seconds, reused=False, folder=config.folder)
    return Finding(**vars(done), report=page, summary=summary, answer=answer(Summary.read(summary)))


def remove_photographs(run_folder: Path) -> None:
    """Remove what an earlier run kept of the data set's images: thumbnails, and the report that holds them within.

    Done before any work, so that no run that is broken off leaves one. Raises InputError for a file that stays.
    """
    thumbs, report = run_folder.glob("thumbs/*/real-*.jpg"), run_folder / "report.html"
    for path in (*thumbs, report, *run_folder.glob(temporary_of(report, "*").name)):
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise InputError(
                f"{path}: holds images of the data set, which photographs: false keeps out of a run's folder, and "
                f"cannot be removed ({fault.strerror}); remove it, or set another name="
            ) from fault


def _write_gallery(
    config: StudyConfig, split: Split, drawn: Mapping[str, Step], given: Mapping[str, Elsewhere]
) -> None:
    """Write all thumbnails anew: none stays of a label, an arm or an image that the study no longer has."""
    folder = config.folder / "thumbs"
    if folder.exists():
        shutil.rmtree(folder)
    if config.photographs:
        _write_thumbs(folder, split.train, "real")
    if drawn:
        _write_thumbs(folder, read_synthetic(config, drawn), "synthetic")
    for name, images in given.items():
        _write_thumbs(folder, images.read(), f"arm.{name}.")


def _write_thumbs(folder: Path, manifest: Manifest, source: str) -> None:
    """Keep a few images of each class, of distinct groups, so that the report needs no data set."""
    small = PixelConfig(size=EDGE)
    for label in manifest.labels:
        few = manifest.of(label)
        few = few.where(~few.table["group_id"].duplicated())
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(few.paths()[:THUMBS]):
            Image.fromarray(read_image(path, small)).save(folder / label / f"{source}-{i}.jpg", quality=90)


def _machine() -> dict[str, Any]:
    """Describe the machine in what a reader of timings wants to know."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
    }


def _processor() -> str:
    """Name the processor; Linux keeps that in a file."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
