"""Which function makes a step, by its stage: a step is made by name, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.progress import Progress
from flows.plan import Plan
from flows.stages import arm, autoencoded, base, external, finetune, images, random_split
from flows.steps import Step

Make = Callable[[Plan, Step, Path, Progress], None]
MakeGroup = Callable[[Plan, Sequence[Step], Mapping[str, Path], Progress], Iterator[tuple[Step, float]]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How the steps of one stage are made."""

    make: Make  # writes one step's artefact into the folder that it is given
    make_group: MakeGroup | None = None  # several at once; gives each with its seconds once written
    leave: Callable[[Plan], None] | None = None  # called when a run goes on to another stage


STAGES: Mapping[str, Stage] = {
    "external": Stage(make=external.make),
    "base": Stage(make=base.make),
    "fine-tune": Stage(make=finetune.make, make_group=finetune.make_group),
    "images": Stage(make=images.make, leave=images.unload),
    "autoencoded": Stage(make=autoencoded.make),
    "arm": Stage(make=arm.make),
    "random split": Stage(make=random_split.make),
}
