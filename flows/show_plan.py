"""A plan shown before it is run, and written into the run folder: which steps, what is there, how much disk.

`lesionloom plan CONFIG` prints it and makes nothing: what must be made to know the steps (phantoms, the split) is made
in a temporary folder.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.config import to_dict
from data.errors import exit_code
from data.progress import Progress
from data.store import RECORD, write_json
from flows.checks import refuse_used_base
from flows.disk import estimate
from flows.plan import Plan
from flows.prepare import prepare
from flows.stages.table import make_plan
from flows.steps import Result
from flows.study import StudyConfig, load_study

PLAN = "plan.json"


def write_plan(plan: Plan) -> None:
    """Write the plan into the run folder: the config, and each step's digest, needs, device and artefact."""
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
    write_json(study.folder / PLAN, {"config": to_dict(study), "digest": plan.digest, "steps": steps})


def plan_without_writing(study: StudyConfig) -> Plan:
    """The plan of a study; nothing of it is made. Raises InputError.

    The images are read and divided in a temporary folder, from a copy of what an earlier run knows of them.
    """
    with tempfile.TemporaryDirectory(prefix="lesionloom-plan-") as folder:
        temporary = dataclasses.replace(study, output_dir=folder)
        _copy_known(study, temporary)
        return _moved(make_plan(prepare(temporary, _Quiet())), Path(folder), study.output_dir)


def show_plan(plan: Plan, console: Console) -> None:
    """Print the steps with what they need and what is there, then counts and disk."""
    table = Table(box=None, pad_edge=False)
    for column in ("step", "needs", "state"):
        table.add_column(column)
    for step in plan.steps:
        table.add_row(step.id, ", ".join(step.needs) or "-", "finished" if step.is_finished else "to be made")
    split, left = plan.prepared.split, sum(not step.is_finished for step in plan.steps)
    parts = ", ".join(f"{name} {len(part):,}" for name, part in split.parts().items())
    console.print(f"{len(plan.prepared.images.manifest):,} images of {len(split.train.labels)} classes: {parts}")
    added = ", ".join(f"{label} {count:,}" for label, count in plan.prepared.fill_counts.items())
    console.print(f"images that the filled arms add: {added}\n")
    console.print(table)
    console.print(f"\n{len(plan.steps)} steps, {left} to be made; disk: {estimate(plan).outcome}", soft_wrap=True)


def _copy_known(study: StudyConfig, to: StudyConfig) -> None:
    """Copy the images' digests, the splits, and phantoms where these are the images: what takes long to make again."""
    digests = study.cache / "contents.json"
    if digests.is_file():
        to.cache.mkdir(parents=True)
        shutil.copy2(digests, to.cache)
    phantoms = study.cache.with_name("data").glob("phantom-*/") if study.data.source == "phantom" else ()
    for folder in (*phantoms, *study.folder.glob("split-*/")):
        if (folder / RECORD).is_file():  # finished
            shutil.copytree(folder, Path(to.output_dir) / folder.relative_to(study.output_dir))


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
        plan = plan_without_writing(study)
        refuse_used_base(plan)
        show_plan(plan, console)
        return 0

    return exit_code(work)
