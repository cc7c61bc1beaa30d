"""A step of a study as data: which artefact, what it depends on, which steps it needs, the disk space it takes.

The run folder decides what is done, by the digest of what a step depends on; no cache of a scheduler does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from data.progress import Progress
from data.store import digest, finished


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes that a step writes at most, and the pixel caches that it reads."""

    kind: str = ""  # of what is kept, as the disk estimate names it
    kept: int = 0
    checkpoint: int = 0  # one checkpoint file; gone when the step is finished
    checkpoints: int = 0  # that the step saves on its way: from the second on, a new one is written beside the old
    pixel_sizes: tuple[int, ...] = ()  # edge lengths of the decoded images that it asks the cache for


@dataclass(frozen=True, kw_only=True)
class Step:
    """One artefact to be made. Data alone: `flows.stages.table.STAGES[stage]` holds the function that makes it."""

    stage: str
    what: str  # which of the stage's artefacts, in words
    record: tuple[str, ...]  # its keys under `artifacts` in run.json
    folder: Path  # without the digest
    inputs: Mapping[str, Any]  # all that the artefact depends on, as plain JSON
    needs: tuple[str, ...] = ()  # ids of the steps whose artefacts it reads
    group: str = ""  # steps of one group are made in one piece of work; "": by itself
    disk: DiskUse = field(default_factory=DiskUse)
    on_device: bool = True  # computes on the accelerator, where there is one

    @property
    def id(self) -> str:
        """Its name in a plan, e.g. `fine-tune df` or `arm real 0`."""
        return f"{self.stage} {self.what}".strip()

    @property
    def digest(self) -> str:
        """Digest of its inputs, which later steps depend on."""
        return digest(self.inputs)

    @property
    def target(self) -> Path:
        """The artefact's folder."""
        return self.folder.with_name(f"{self.folder.name}-{self.digest[:12]}")

    @property
    def is_finished(self) -> bool:
        """Whether the artefact is there and intact."""
        return finished(self.target, self.inputs)


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """A finished step; a reused one cost its seconds in an earlier run."""

    stage: str
    what: str
    seconds: float
    reused: bool
    folder: Path
    note: str = ""  # what whoever uses the artefact has to know

    @property
    def outcome(self) -> str:
        """The outcome in words."""
        took = f"kept from before (took {self.seconds:.0f} s)" if self.reused else f"{self.seconds:.0f} s"
        return f"{took}, {self.note}" if self.note else took


@dataclass(frozen=True, kw_only=True)
class GroupResult(StepResult):
    """Finished steps that were one piece of work; reused if all of them were."""

    parts: tuple[StepResult, ...]

    @property
    def outcome(self) -> str:
        """The outcome of each, in words."""
        if len(self.parts) == 1:
            return self.parts[0].outcome
        return ", ".join(f"{part.what} {part.outcome}" for part in self.parts)


Result = TypeVar("Result", bound=StepResult)


class Runner(Protocol):
    """Runs pieces of work and shows them: in a terminal, or as Prefect tasks."""

    def expect(self, pieces: int) -> None:
        """Take note that so many pieces of work are still to come."""

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work and return what it returns."""


def in_repeat(run: Runner, title: str) -> Runner:
    """A runner that says of each piece of work which repeat of the study it is for; itself where there is one."""
    return _InRepeat(run, title) if title else run


@dataclass(frozen=True)
class _InRepeat:
    run: Runner
    title: str  # e.g. "seed 1, fold 2"

    def expect(self, pieces: int) -> None:
        self.run.expect(pieces)

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        return self.run(stage, f"{what} ({self.title})".strip(), work)
