"""What a run leaves beside its artefacts for the report: run.json, and thumbnails of the images that it may show."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from augment.base.config import base_identity
from data.config import to_dict
from data.manifest import Manifest
from data.pixels import PixelConfig, read_image
from data.store import read_json, write_json
from flows.inputs import LIBRARIES

if TYPE_CHECKING:
    from flows.plan import Plan
    from flows.steps import Step, StepResult

THUMBS, EDGE = 12, 96  # images a class and source that the report may show; pixels
THUMBS_FOLDER = "thumbs"
COST = "cost.json"


def write_run(plan: Plan, results: Sequence[StepResult], started: datetime) -> None:
    """Write run.json."""
    study = plan.prepared.study
    names = sorted({name for names in LIBRARIES.values() for name in names} | {"prefect"})
    arm = plan.target("arm", study.arm_names[0], str(study.seeds[0]))
    run = {
        "name": study.name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": to_dict(study),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "machine": _machine() | {"device": read_json(arm / COST)["device"]},
        "seeds": {"study_seed": study.study_seed, "seeds": study.seeds},
        "base": base_identity(plan.base),
        "regime": "limited" if study.split.limit_real_to_shots else "shots",
        "rare": study.split.rare,
        "arms": study.arm_names,
        "classes": plan.prepared.split.train.labels,
        "artifacts": _artefacts(plan, plan.steps),
        "timings": [
            {"stage": each.stage, "what": each.what, "seconds": each.seconds, "reused": each.reused} for each in results
        ],
    }
    write_json(study.folder / "run.json", run)


def clear_real_thumbs(folder: Path) -> None:
    """Remove every trace of the data set's images that an earlier run left for its report, and that report."""
    for path in (folder / THUMBS_FOLDER).glob("*/real-*"):
        path.unlink()
    (folder / "report.html").unlink(missing_ok=True)


def write_thumbs(folder: Path, manifest: Manifest, source: str) -> None:
    """Keep a few images of each class, of distinct groups, so that the report needs no data set."""
    small = PixelConfig(size=EDGE)
    for label in manifest.labels:
        few = manifest.of(label)
        few = few.where(~few.table["group_id"].duplicated())
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(few.paths()[:THUMBS]):
            Image.fromarray(read_image(path, small)).save(folder / label / f"{source}-{i}.jpg", quality=90)


def clear_thumbs(folder: Path) -> Path:
    """An empty folder for the thumbnails of a run."""
    thumbs = folder / THUMBS_FOLDER
    shutil.rmtree(thumbs, ignore_errors=True)
    thumbs.mkdir(parents=True)
    return thumbs


def thumbnail_bytes() -> int:
    """Bytes of the thumbnails of one class and source, at most."""
    return THUMBS * EDGE**2 * 3


def _artefacts(plan: Plan, steps: Sequence[Step]) -> dict[str, Any]:
    """Folders within the run, under each step's keys."""
    folder, found = plan.prepared.study.folder, dict[str, Any]()
    targets = [(("split",), plan.prepared.split_result.folder), *((step.record, step.target) for step in steps)]
    for (*keys, last), target in targets:
        place = found
        for key in keys:
            place = place.setdefault(key, {})
        place[last] = target.relative_to(folder).as_posix()
    return found


def _machine() -> dict[str, Any]:
    """The machine, in what a reader of timings wants to know."""
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
