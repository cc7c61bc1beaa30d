"""run.json: the record of a finished run, for the report: config, versions, machine, artefacts and timings.

Each repeat of a study has one; the study's own names them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from augment.base.identity import base_identity
from data.config import to_dict
from data.home import without_home
from data.store import read_record, write_json
from flows.inputs import LIBRARIES
from flows.plan import Plan
from flows.steps import Step, StepResult
from flows.study import StudyConfig


def write_run(plan: Plan, results: Sequence[StepResult], started: datetime) -> None:
    """Write run.json."""
    study = plan.prepared.study
    names = sorted({name for names in LIBRARIES.values() for name in names} | {"prefect"})
    arm = plan.target("arm", study.arm_names[0], str(study.seeds[0]))
    run = {
        "name": study.name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": without_home(to_dict(study)),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "machine": _machine() | {"device": read_record(arm / "cost.json", "device")["device"]},
        "seeds": {"study_seed": study.study_seed, "generator_seed": study.generator_seed, "seeds": study.seeds},
        "base": without_home(base_identity(plan.base)),
        "regime": "limited" if study.split.limit_real_to_shots else "shots",
        "rare": study.split.rare,
        "arms": study.arm_names,
        "classes": plan.prepared.split.train.labels,
        "artifacts": _artefacts(plan, plan.steps),
        "timings": [_timing(each, study.folder) for each in results],
    }
    write_json(study.records / "run.json", run)


def write_repeats(study: StudyConfig, name: str) -> None:
    """Write the record of a study that is repeated, run.json or plan.json: its config and its repeats' folders."""
    repeats = [repeat.records.relative_to(study.folder).as_posix() for repeat in study.repeats()]
    write_json(study.folder / name, {"name": study.name, "config": without_home(to_dict(study)), "repeats": repeats})


def _timing(result: StepResult, folder: Path) -> dict[str, Any]:
    """What a step took; its folder within the run tells which repeats share it."""
    timing = {name: getattr(result, name) for name in ("stage", "what", "seconds", "reused")}
    return timing | {"folder": result.folder.relative_to(folder).as_posix()}


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
    """The machine that the timings were measured on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
    }


def _processor() -> str:
    """The processor's name; Linux has it in a file."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
