"""Makes what is missing of a piece of work: its steps are looked up by stage, timed, and finished one by one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import filelock
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from augment import device as devices
from data.progress import Progress
from data.store import building, read_json, write_json
from flows.machine_faults import machine_faults_in_one_line
from flows.plan import Plan
from flows.stages.table import STAGES
from flows.steps import GroupResult, Step, StepResult
from flows.study import StudyConfig

COST = "cost.json"  # seconds and device, inside an artefact


def set_up_libraries(study: StudyConfig) -> None:
    """Turn off the progress bars of diffusers and transformers, as runners show progress; keep compiled kernels."""
    disable_progress_bars()
    devices.keep_compiled(study.cache / "compiled")


def disable_progress_bars() -> None:
    """Turn off the progress bars of diffusers and transformers."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()


def run_group(plan: Plan, steps: Sequence[Step], progress: Progress) -> GroupResult:
    """Make the artefacts that are missing, in one piece of work; each is kept, timed and recorded by itself.

    A step that is written stays finished if the work on the others is interrupted. Raises InputError, TrainingError.
    """
    missing = [step for step in steps if not step.is_finished]
    with machine_faults_in_one_line(plan.prepared.study.output_dir):
        if len(missing) > 1:
            _make_group(plan, missing, progress)
        elif missing:
            _make_one(plan, missing[0], progress)
    parts = tuple(result_of(step, reused=step not in missing) for step in steps)
    return GroupResult(
        stage=steps[0].stage,
        what=", ".join(step.what for step in steps),
        seconds=round(sum(part.seconds for part in parts), 2),
        reused=not missing,
        folder=steps[0].target if len(steps) == 1 else steps[0].folder.parent,
        note="; ".join(f"{part.what}: {part.note}" for part in parts if part.note),
        parts=parts,
    )


def make_artefact(step: Step, make: Callable[[Path], None]) -> StepResult:
    """Make one artefact by this function, unless it is finished."""
    reused = step.is_finished
    if not reused:
        with _device(step.on_device) as name, building(step.target, step.inputs) as folder:
            start = time.perf_counter()
            make(folder)
            write_json(folder / COST, {"seconds": round(time.perf_counter() - start, 2), "device": name})
    return result_of(step, reused=reused)


def result_of(step: Step, *, reused: bool) -> StepResult:
    """The result of a finished step, with the seconds that its artefact took."""
    seconds = read_json(step.target / COST)["seconds"]
    note = STAGES[step.stage].note(step) if step.stage in STAGES else ""  # the split is of no stage
    return StepResult(stage=step.stage, what=step.what, seconds=seconds, reused=reused, folder=step.target, note=note)


def _make_one(plan: Plan, step: Step, progress: Progress) -> None:
    make_artefact(step, lambda folder: STAGES[step.stage].make(plan, step, folder, progress))


def _make_group(plan: Plan, missing: Sequence[Step], progress: Progress) -> None:
    """Make several steps at once; each step's folder is finished as soon as it is written."""
    make_group = STAGES[missing[0].stage].make_group
    if make_group is None:
        raise ValueError(f"{missing[0].stage}: steps of this stage are made one by one")
    with ExitStack() as stack:
        name = stack.enter_context(_device(any(step.on_device for step in missing)))
        open_steps = {step.id: stack.enter_context(ExitStack()) for step in missing}
        folders = {step.id: open_steps[step.id].enter_context(building(step.target, step.inputs)) for step in missing}
        for step, seconds in make_group(plan, missing, folders, progress):
            write_json(folders[step.id] / COST, {"seconds": round(seconds, 2), "device": name})
            open_steps.pop(step.id).close()
        if open_steps:
            raise RuntimeError(f"left incomplete: {', '.join(open_steps)}")


def _device(on_device: bool) -> AbstractContextManager[str]:
    """The device's name; one process at a time holds an accelerator, by a lock that ends with the process."""
    if not on_device:
        return nullcontext("cpu")
    name = devices.default_device().type
    return nullcontext(name) if name == "cpu" else _Held(name)


def device_lock(name: str) -> filelock.FileLock:
    """The lock of an accelerator, such as `cuda`, on this machine; it ends with the process that holds it."""
    return filelock.FileLock(Path(tempfile.gettempdir()) / f"lesionloom-{name}.lock")


class _Held(AbstractContextManager[str]):
    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = device_lock(name)

    def __enter__(self) -> str:
        self._lock.acquire()
        return self._name

    def __exit__(self, *fault: object) -> None:
        self._lock.release()
