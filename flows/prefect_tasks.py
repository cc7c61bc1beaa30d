"""Steps as Prefect tasks, and what they show in the UI.

Prefect is imported here, in the flow's file and in `flows.launch.prefect_plugin` alone.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
from PIL import Image
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from augment.generate.mark import metadata, stamped
from data.errors import InputError, MachineError, TrainingError, in_one_line
from data.files.archives import FORMATS
from data.progress import LogProgress, Progress
from flows.pipeline import RunResult
from flows.steps import GroupResult, Result, StepResult
from reports.numbers import share
from reports.schema import Summary

SHEET = (8, 2)  # images of a sample sheet, across and down
TILE = 96  # pixels


class PrefectRunner:
    """A `Runner` whose pieces of work are Prefect tasks, called one after another in this process.

    `flows.step` makes a step in another process, or on another machine.

    The run folder decides what is done, so Prefect's cache is off; a step that had nothing to do ends in a
    state named Reused, and a fine-tune that was stopped by request in one named Stopped early. Bad input and
    training that failed are no tracebacks but states with one line.
    """

    def expect(self, pieces: int) -> None:
        """Prefect's page counts by itself."""

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work."""
        title = f"{stage} {what}".strip()

        @task(name=stage, task_run_name=title, cache_policy=NO_CACHE, persist_result=False)
        def piece() -> State[Result]:
            logger = get_run_logger()
            try:
                done = work(_Shown(title, LogProgress(lambda line: logger.info("%s: %s", title, line))))
            except (InputError, TrainingError, MachineError) as fault:
                return unfinished(fault)
            logger.info("%s: %s", title, done.outcome)
            with no_fault_ends_the_run():
                show_samples(done)
            return Completed(name=_state_name(done), message=done.outcome, data=done)

        state = piece(return_state=True)
        if state.name in _FAULTS:
            raise _FAULTS[state.name](state.message)
        return cast("Result", state.result(raise_on_failure=True))


def _state_name(done: StepResult) -> str:
    """What the state of a finished piece of work is called; a fine-tune that was stopped by request has a note."""
    if done.reused:
        return "Reused"
    return "Stopped early" if done.note else "Completed"


# The error that a state of this name stands for.
_FAULTS = {"Refused": InputError, "Failed training": TrainingError, "Failed machine": MachineError}


def unfinished(fault: InputError | TrainingError | MachineError) -> State[Any]:
    """The state of a piece of work or a run that failed with this fault; its message is the fault's line."""
    return Failed(
        name=next(name for name, kind in _FAULTS.items() if isinstance(fault, kind)), message=in_one_line(fault)
    )


_AFTER_A_FAULT = 60.0  # seconds


@contextmanager
def no_fault_ends_the_run() -> Iterator[None]:
    """What is only shown may fail: a server that has ended ends no training."""
    try:
        yield
    except Exception as fault:  # noqa: BLE001 - Prefect's client raises whatever its libraries raise
        get_run_logger().warning("not shown, the work goes on: %s", in_one_line(fault))


class _Shown:
    """A `Progress` that keeps a progress artifact of long work, and logs a line now and then."""

    def __init__(self, title: str, log: LogProgress, every: float = 3.0) -> None:
        self._title, self._log, self._every = title, log, every
        self._artifact: UUID | None = None
        self._last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self._log(done, total, note)
        now = time.monotonic()
        if now - self._last < self._every and (done < total or self._artifact is None):
            return
        with no_fault_ends_the_run():
            self._show(done, total, note)
            self._last = now
            return
        self._last, self._every = time.monotonic(), _AFTER_A_FAULT  # each try may wait for the server

    def _show(self, done: int, total: int, note: str) -> None:
        share = 100.0 * done / max(1, total)
        if self._artifact is None:
            key = _key("progress", self._title)
            self._artifact = cast("UUID", create_progress_artifact(share, key=key, description=self._title))
        else:
            description = f"{self._title}: {note}" if note else self._title  # such as the losses of a fine-tune
            update_progress_artifact(self._artifact, share, description=description)


def show_samples(done: StepResult) -> None:
    """Show a sheet of the images that a step made, or a fine-tune's last preview, if there are any."""
    if done.stage not in ("images", "fine-tune") or not isinstance(done, GroupResult):
        return
    for part in done.parts:
        if done.stage == "fine-tune":
            _show_preview(part)
            continue
        images = sorted((part.folder / "images").glob("*"))[: SHEET[0] * SHEET[1]]
        if images:
            key = _key("samples", part.what)
            create_image_artifact(image_url=_sheet(images), key=key, description=f"Synthetic images of {part.what}")


def _show_preview(part: StepResult) -> None:
    strips = sorted((part.folder / "previews").glob("step-*.jpg"))
    if strips:
        step = int(strips[-1].stem.removeprefix("step-"))
        description = f"What the fine-tune of {part.what} generates at step {step}"
        url = f"data:image/jpeg;base64,{base64.b64encode(strips[-1].read_bytes()).decode()}"
        create_image_artifact(image_url=url, key=_key("preview", part.what), description=description)


def show_report(found: RunResult) -> None:
    """Show the report's link and the table of metrics."""
    path = found.report.resolve()
    summary = Summary.read(found.summary)
    rows = [
        {
            "arm": arm,
            "balanced accuracy": share(score.mean),
            "95 % interval": f"{share(score.low)} to {share(score.high)}",
            **{f"recall {label}": share(summary.per_class_recall[arm][label].mean) for label in summary.classes},
        }
        for arm, score in summary.balanced_accuracy.items()
    ]
    create_link_artifact(
        link=path.as_uri(), link_text="report.html", key="report", description=f"{found.answer}\n\n`{path}`"
    )
    create_table_artifact(table=rows, key="metrics", description=found.answer)


def _key(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def _sheet(paths: list[Path]) -> str:
    """The data URI of one JPEG with the images side by side, each with the mark of a synthetic one."""
    sheet = Image.new("RGB", (SHEET[0] * TILE, SHEET[1] * TILE), "white")
    for i, path in enumerate(paths):
        with Image.open(path, formats=FORMATS) as image:
            tile = stamped(np.asarray(image.convert("RGB").resize((TILE, TILE))))
            sheet.paste(Image.fromarray(tile), (i % SHEET[0] * TILE, i // SHEET[0] * TILE))
    buffer = BytesIO()
    sheet.save(buffer, "JPEG", quality=88, **metadata("JPEG"))
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
