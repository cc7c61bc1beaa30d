"""Plans shown before they are run, and written into the run folder: which steps, what is there, how much disk.

`lesionloom plan CONFIG` prints it and makes nothing: what must be made to know the steps (phantoms, the split) is made
in a temporary folder.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table

from augment.methods.record import RECORD as ADAPTER
from data.config import to_dict
from data.errors import exit_code
from data.progress import Progress
from data.store import RECORD, write_json
from flows.checks import refuse_used_base
from flows.disk import estimate
from flows.plan import Plan, own_steps
from flows.power import power_in_words
from flows.prepare import prepare_repeats
from flows.record import write_repeats
from flows.stages.table import STAGES, as_made, make_plan
from flows.steps import Result, Step
from flows.study import StudyConfig, load_study

PLAN = "plan.json"


def write_plans(study: StudyConfig, plans: Sequence[Plan]) -> None:
    """Write the plan of each repeat beside its records, and where there are several, the study's own, which names them.

    A plan is the config, and each step's digest, needs, device and artefact.
    """
    if len(plans) > 1:
        write_repeats(study, PLAN)
    for plan in plans:
        _write_plan(plan)


def replanned(plan: Plan) -> Plan:
    """The plan as its fine-tunes were made; where that is another one, it takes the other's place in the run folder."""
    made = as_made(plan)
    if made is not plan and (made.prepared.study.records / PLAN).is_file():
        _write_plan(made)
    return made


def _write_plan(plan: Plan) -> None:
    study = plan.prepared.study
    steps = {
        step.id: {
            "digest": step.digest,
            "needs": step.needs,
            "on_device": step.on_device,
            "folder": str(step.target.relative_to(study.folder)),
        }
        for step in plan.steps
    }
    write_json(study.records / PLAN, {"config": to_dict(study), "digest": plan.digest, "steps": steps})


def plans_without_writing(study: StudyConfig) -> tuple[Plan, ...]:
    """The plan of each repeat of a study; nothing of it is made. Raises InputError.

    The images are read and divided in a temporary folder, from a copy of what an earlier run knows of them.
    """
    with tempfile.TemporaryDirectory(prefix="lesionloom-plan-") as folder:
        temporary = dataclasses.replace(study, output_dir=folder)
        _copy_known(study, temporary)
        plans = [make_plan(prepared) for prepared in prepare_repeats(temporary, _Quiet())]
        return tuple(_moved(plan, Path(folder), study.output_dir) for plan in plans)


def show_plans(plans: Sequence[Plan], console: Console) -> None:
    """Print each repeat's steps with what they need and what is there, then counts and disk.

    A step that a repeat shares with one before it is listed there alone.
    """
    first, own = plans[0].prepared, own_steps(plans)
    images = f"{len(first.images.manifest):,} images of {len(first.split.train.labels)} classes"
    console.print(power_in_words(plans), soft_wrap=True)
    console.print(images, end="\n" if plans[1:] else "")
    for plan, steps in zip(plans, own, strict=True):
        _show_repeat(plan, steps, console)
    steps = list(chain.from_iterable(own))
    left, repeats = sum(not step.is_finished for step in steps), f" of {len(plans)} repeats" if len(plans) > 1 else ""
    estimated = estimate(*plans).outcome
    console.print(f"\n{len(steps)} steps{repeats}, {left} to be made; disk: {estimated}", soft_wrap=True)


def _show_repeat(plan: Plan, own: Sequence[Step], console: Console) -> None:
    prepared = plan.prepared
    parts = ", ".join(f"{name} {len(part):,}" for name, part in prepared.split.parts().items())
    title = prepared.study.title
    console.print(f"\n{title}: {parts}" if title else f": {parts}")
    added = ", ".join(f"{label} {count:,}" for label, count in prepared.fill_counts.items())
    console.print(f"images that the filled arms add: {added}\n")
    table = Table(box=None, pad_edge=False)
    for column in ("step", "needs", "state"):
        table.add_column(column)
    for step in own:
        table.add_row(step.id, ", ".join(step.needs) or "-", _state(step))
    console.print(table)
    if shared := len(plan.steps) - len(own):
        console.print(f"{shared} more as above: the same artefacts")


def _state(step: Step) -> str:
    note = STAGES[step.stage].note(step)
    return (f"finished, {note}" if note else "finished") if step.is_finished else "to be made"


def _copy_known(study: StudyConfig, to: StudyConfig) -> None:
    """Copy the images' digests, the splits, phantoms where these are the images, and the records of adapters.

    All but the last take long to make again.
    """
    digests = study.cache / "contents.json"
    if digests.is_file():
        to.cache.mkdir(parents=True)
        shutil.copy2(digests, to.cache)
    phantoms = study.cache.with_name("data").glob("phantom-*/") if study.data.source == "phantom" else ()
    for folder in (*phantoms, *study.folder.glob("split-*/")):
        if (folder / RECORD).is_file():  # finished
            shutil.copytree(folder, Path(to.output_dir) / folder.relative_to(study.output_dir))
    for record in study.folder.glob(f"finetune/*/{ADAPTER}"):  # what follows depends on which were stopped
        place = Path(to.output_dir) / record.relative_to(study.output_dir)
        place.parent.mkdir(parents=True)
        shutil.copy2(record, place)


def _moved(plan: Plan, folder: Path, output_dir: str) -> Plan:
    """The same plan with its artefacts in another output folder."""
    study = dataclasses.replace(plan.prepared.study, output_dir=output_dir)
    steps = (dataclasses.replace(s, folder=Path(output_dir) / s.folder.relative_to(folder)) for s in plan.steps)
    return Plan(dataclasses.replace(plan.prepared, study=study), tuple(steps))


class _Quiet:
    """A `Runner` that shows nothing."""

    def expect(self, pieces: int) -> None:
        """Nothing is counted."""

    def __call__(self, stage: str, what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work."""
        del stage, what
        return work(lambda _done, _total, _note="": None)


def show(config: Path, overrides: Sequence[str] = ()) -> int:
    """Print the plan of a config, and give the command's exit code."""
    console = Console(highlight=False)

    def work() -> int:
        study = load_study(config, overrides)
        console.print(f"reading the images of {config}; nothing is written to {study.folder}")
        plans = plans_without_writing(study)
        for plan in plans:
            refuse_used_base(plan)
        show_plans(plans, console)
        return 0

    return exit_code(work)
