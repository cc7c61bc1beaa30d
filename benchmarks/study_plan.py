"""A study in a benchmark: how many images it generates, its stages made in turn, progress on stderr."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from augment.generate.run import ImageRequest, generate, synthetic_manifest
from augment.methods.record import AdapterRecord
from data.manifest import Manifest
from data.progress import Progress
from flows.execute import make_artefact, run_group
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import images as images_stage
from flows.steps import Result, Step


@dataclass(frozen=True)
class CountedStudy(Prepared):
    """A prepared study that generates the given number of images of each class, not what its arms need."""

    counts: Mapping[str, int]  # by rare class

    @cached_property
    def synthetic_counts(self) -> dict[str, int]:
        """How many images to generate of each rare class."""
        return dict(self.counts)


def with_counts(prepared: Prepared, counts: Mapping[str, int]) -> CountedStudy:
    """The study with numbers of images of its own."""
    own = {field.name: getattr(prepared, field.name) for field in dataclasses.fields(Prepared)}
    return CountedStudy(**own, counts=counts)


def make_stage(plan: Plan, stage: str) -> None:
    """Make the steps of one stage that are not finished, grouped as a run groups them."""
    for steps in plan.groups():
        if steps[0].stage == stage:
            run_group(plan, steps, print_progress)


def images_of(plan: Plan, step: Step) -> Manifest:
    """The generated images of a finished step."""
    return synthetic_manifest(step.target, images_stage.ROOT, {images_stage.ROOT: plan.prepared.study.folder})


def images_of_base(plan: Plan, step: Step, folder: Path) -> Manifest:
    """Images of the base alone, from the adapter's prompt and the seeds of the images step, kept in a folder."""
    study, label = plan.prepared.study, step.what
    request = ImageRequest(
        label=label,
        prompt=AdapterRecord.read(plan.target("finetune", label)).prompt,
        count=plan.prepared.synthetic_counts[label],
        seed=study.generator_seed,
        size=study.pixels.size,
        attributes=images_stage.attributes_for(plan.prepared, label),
    )
    step = dataclasses.replace(step, folder=folder, inputs={**step.inputs, "stage": "images of the base"})
    make_artefact(
        step,
        lambda out: generate(
            pipeline=plan.pipeline, request=request, config=study.generate, out=out, progress=print_progress
        ),
    )
    return images_of(plan, step)


def print_progress(done: int, total: int, note: str = "") -> None:
    """A `Progress` that prints every 50th step, and the last."""
    if done == total or done % 50 == 0:
        print(f"  {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)


def titled(title: str) -> Progress:
    """`print_progress` with a title before each note."""
    return lambda done, total, note="": print_progress(done, total, f"{title}, {note}")


class StderrRunner:
    """A `Runner` that prints the progress of each piece of work."""

    def expect(self, pieces: int) -> None:
        """Nothing is counted."""

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work."""
        return work(titled(f"{stage} {what}".strip()))
