"""One step of a study: look whether its artifact is finished, make it otherwise, and say what it cost.

The run folder decides what is done, by the digest of what a step depends on; no cache of a scheduler does.
Nothing here knows Prefect: a `Conductor` runs steps by hand (`flows.terminal`) or as Prefect tasks (`prefect_tasks`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import filelock

from data.progress import Watch
from data.store import building, digest, finished, read_json, write_json

__all__ = ["COST", "Conductor", "Done", "DoneTogether", "Finished", "Step", "Together", "Watch"]

COST = "cost.json"  # seconds and device, inside an artifact


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished step; a reused one cost its seconds in an earlier run."""

    stage: str
    what: str
    seconds: float
    reused: bool
    folder: Path

    @property
    def outcome(self) -> str:
        """What became of the step, in words."""
        return f"kept from before (took {self.seconds:.0f} s)" if self.reused else f"{self.seconds:.0f} s"


@dataclass(frozen=True, kw_only=True)
class DoneTogether(Done):
    """Finished steps that were one piece of work; reused if all of them were."""

    parts: tuple[Done, ...]

    @property
    def outcome(self) -> str:
        """Say what became of each."""
        return ", ".join(f"{part.what} {part.outcome}" for part in self.parts)


Finished = TypeVar("Finished", bound=Done)


class Conductor(Protocol):
    """Runs the steps, and shows them."""

    def __call__(self, stage: str, what: str, work: Callable[[Watch], Finished]) -> Finished:
        """Run one step and return what it returns."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """An artifact to be made: `make` writes its files into the folder that it is given."""

    stage: str
    what: str
    folder: Path  # without the digest
    inputs: Mapping[str, Any]  # all that the artifact depends on, as plain JSON
    make: Callable[[Path, Watch], None]
    heavy: bool = True  # computes on the device

    @property
    def digest(self) -> str:
        """What later steps depend on."""
        return digest(self.inputs)

    @property
    def target(self) -> Path:
        """The artifact's folder."""
        return self.folder.with_name(f"{self.folder.name}-{self.digest[:12]}")

    def __call__(self, watch: Watch) -> Done:
        """Make the artifact, unless it is there."""
        reused = finished(self.target, self.inputs)
        if not reused:
            with _device(self.heavy) as device, building(self.target, self.inputs) as partial:
                start = time.perf_counter()
                self.make(partial, watch)
                cost = {"seconds": round(time.perf_counter() - start, 2), "device": device}
                write_json(partial / COST, cost)
        return _kept(self, reused=reused)


Complete = Callable[[str, float], None]  # which of the steps, by `what`, is made, and its seconds


@dataclass(frozen=True, kw_only=True)
class Together:
    """Artifacts of one stage that are made in one piece of work; each is kept, timed and recorded by itself.

    `make` gets the folders of those that are not there yet, and says of each when it is complete. What is complete
    stays so if the work on the others is broken off.
    """

    steps: tuple[Step, ...]
    make: Callable[[Mapping[str, Path], Watch, Complete], None]

    @property
    def stage(self) -> str:
        """The stage of all of them."""
        return self.steps[0].stage

    @property
    def what(self) -> str:
        """All that are made."""
        return ", ".join(step.what for step in self.steps)

    def __call__(self, watch: Watch) -> DoneTogether:
        """Make the artifacts that are not there."""
        missing = [step for step in self.steps if not finished(step.target, step.inputs)]
        if missing:
            self._make(missing, watch)
        parts = tuple(_kept(step, reused=step not in missing) for step in self.steps)
        seconds = round(sum(part.seconds for part in parts), 2)
        folder = self.steps[0].folder.parent
        return DoneTogether(
            stage=self.stage, what=self.what, seconds=seconds, reused=not missing, folder=folder, parts=parts
        )

    def _make(self, missing: list[Step], watch: Watch) -> None:
        with ExitStack() as whole:
            device = whole.enter_context(_device(any(step.heavy for step in missing)))
            own = {step.what: whole.enter_context(ExitStack()) for step in missing}
            folders = {step.what: own[step.what].enter_context(building(step.target, step.inputs)) for step in missing}

            def complete(what: str, seconds: float) -> None:
                write_json(folders[what] / COST, {"seconds": round(seconds, 2), "device": device})
                own.pop(what).close()

            self.make(folders, watch, complete)
            if own:
                raise RuntimeError(f"{self.stage}: {', '.join(own)} was left incomplete")


def _kept(step: Step, *, reused: bool) -> Done:
    """Say what a finished artifact cost."""
    seconds = read_json(step.target / COST)["seconds"]
    return Done(stage=step.stage, what=step.what, seconds=seconds, reused=reused, folder=step.target)


def _device(heavy: bool) -> AbstractContextManager[str]:
    """Give the device's name; one process at a time holds a GPU, by a lock that dies with it."""
    if not heavy:
        return nullcontext("cpu")
    from augment.device import device  # noqa: PLC0415 - torch takes seconds, and reused steps need none

    name = device().type
    return nullcontext(name) if name == "cpu" else _Held(name)


class _Held(AbstractContextManager[str]):
    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = filelock.FileLock(Path(tempfile.gettempdir()) / f"lesionloom-{name}.lock")

    def __enter__(self) -> str:
        self._lock.acquire()
        return self._name

    def __exit__(self, *fault: object) -> None:
        self._lock.release()
