"""A plan: every step of a study after its split, finished or not, and what they are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from augment.base.config import BaseConfig
from augment.generate.pipeline import AdapterPipeline
from data.store import digest
from flows.prepared import Prepared
from flows.steps import Step


@dataclass(frozen=True)
class Plan:
    """The steps of a study in an order in which they can be made, and what they are made from."""

    prepared: Prepared
    steps: tuple[Step, ...]

    @cached_property
    def base(self) -> BaseConfig:
        """The base that is fine-tuned; the study's own one lies where its step puts it."""
        own = self.steps_of("base")
        base = self.prepared.study.base
        return BaseConfig(source=str(own[0].target), embeddings=base.embeddings) if own else base

    @cached_property
    def pipeline(self) -> AdapterPipeline:
        """The loaded base of this process, whose adapter weights are swapped in place; loaded on first use."""
        return AdapterPipeline(self.base)

    @cached_property
    def digest(self) -> str:
        """Digest of the steps: two processes with the same one would make the same artefacts."""
        return digest([(step.id, step.digest) for step in self.steps])

    def step(self, *record: str) -> Step:
        """The step that run.json records under these keys."""
        return next(step for step in self.steps if step.record == record)

    def steps_of(self, stage: str) -> tuple[Step, ...]:
        """All steps of a stage, in order."""
        return tuple(step for step in self.steps if step.stage == stage)

    def target(self, *record: str) -> Path:
        """The artefact's folder of the step under these keys."""
        return self.step(*record).target

    def groups(self) -> Iterator[tuple[Step, ...]]:
        """The steps by pieces of work: those of one group together, every other by itself."""
        for _, steps in groupby(self.steps, key=lambda step: step.group or step.id):
            yield tuple(steps)


def own_steps(plans: Sequence[Plan]) -> list[list[Step]]:
    """Each plan's steps, less those whose artefact a plan before it makes."""
    made: set[Path] = set()
    own = []
    for plan in plans:
        own.append([step for step in plan.steps if step.target not in made])
        made |= {step.target for step in plan.steps}
    return own
