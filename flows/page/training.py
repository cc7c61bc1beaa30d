"""Fine-tunes of a run as they go: the step, the last losses and the newest preview of each class."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import filelock

from augment.methods.record import HELD_OUT_TABLE, AdapterRecord
from data.errors import BaseError
from data.store import partial_of
from flows.page.opened import OpenedRun
from flows.page.recorded import RecordedStep

NOT_BEGUN, RUNNING, INTERRUPTED, DONE = "not begun", "running", "interrupted", "finished"
Points = tuple[tuple[int, float], ...]
_PREVIEWS = 6  # newest previews that are shown


@dataclass(frozen=True, kw_only=True)
class TuningState:
    """One class's fine-tune."""

    label: str
    state: str
    steps: int  # of the config
    losses: Points  # step and loss, as far as they are on disk
    held_out: Points  # the same of photographs that are not trained on; (): not measured
    previews: tuple[Path, ...]  # the newest last

    @property
    def step(self) -> int:
        """The last step that is on disk; 0: none."""
        return max([self.losses[-1][0] if self.losses else 0, *(step_of(path) for path in self.previews)])


def step_of(preview: Path) -> int:
    """The step of a preview, by its name step-000100.jpg."""
    digits = preview.stem.partition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def trainings(opened: OpenedRun) -> list[TuningState]:
    """Every fine-tune of the run, in its order."""
    return [_training(opened, step) for step in opened.steps("fine-tune")]


def _training(opened: OpenedRun, step: RecordedStep) -> TuningState:
    is_finished = step.is_finished
    folder = step.folder if is_finished else partial_of(step.folder)
    return TuningState(
        label=step.what,
        state=_finished(folder) if is_finished else _state(step.folder, folder),
        steps=opened.study.finetune.steps,
        losses=_losses(folder / "loss.csv"),
        held_out=_losses(folder / HELD_OUT_TABLE),
        previews=tuple(sorted((folder / "previews").glob("step-*.jpg"), key=step_of)[-_PREVIEWS:]),
    )


def _state(target: Path, partial: Path) -> str:
    """Whether a process holds the artefact's lock, which `data.store.building` takes and a dead process gives back."""
    if not partial.is_dir():
        return NOT_BEGUN
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return RUNNING
    lock.release()
    return INTERRUPTED


def _finished(folder: Path) -> str:
    """Finished, or stopped by request at which step."""
    try:
        stopped = AdapterRecord.read(folder).stopped
    except BaseError:
        return DONE
    return DONE if stopped is None else stopped.in_words


def _losses(path: Path) -> Points:
    """Step and loss of each row; () for a file that is not there or is being written."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple((int(row["step"]), float(row["loss"])) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, TypeError):
        return ()
