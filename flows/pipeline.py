"""The whole study, as a paper's method section would tell it: the same by hand and under Prefect."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import filelock

from data.durable import make_folder, remove_unfinished
from data.errors import InputError
from flows.checks import check
from flows.execute import run_group, set_up_libraries
from flows.machine_faults import machine_faults_in_one_line
from flows.plan import Plan
from flows.prepare import prepare_repeats
from flows.provenance import write_provenance
from flows.record import write_repeats, write_run
from flows.show_plan import replanned, write_plans
from flows.stages.table import STAGES, make_plan
from flows.steps import Runner, StepResult, in_repeat
from flows.study import StudyConfig
from flows.thumbnails import remove_real_images, write_thumbnails
from flows.verify import verify_run
from reports.render import write_report
from reports.schema import Summary
from reports.text import answer


@dataclass(frozen=True, kw_only=True)
class RunResult(StepResult):
    """The result of a run: the report's path, and its answer in a sentence."""

    report: Path
    summary: Path
    answer: str


def run_study(study: StudyConfig, run: Runner, *, verify: bool = False) -> RunResult:
    """Run the study, each of its repeats in turn, keeping what is finished from an earlier run.

    `verify`: what is finished is read first, and made anew where a byte has changed. Raises InputError for what a user
    can fix, TrainingError for training that failed, MachineError for rights, disks and memory.
    """
    started = datetime.now(UTC)
    set_up_libraries(study)
    with machine_faults_in_one_line(study.output_dir), run_lock(study):
        if not study.embed_real_images:
            remove_real_images(study.folder)
        if verify:
            run("verify", "", lambda progress: verify_run(study, progress))
        prepared = prepare_repeats(study, run)  # read the images; divide them so that no leakage group is in two parts
        plans = [make_plan(each) for each in prepared]  # every adapter, image set and classifier that is asked for
        check(plans, run)  # the base has seen no validation or test image; the disk has room
        write_plans(study, plans)
        run.expect(_pieces(plans))
        for plan in plans:
            found = run_repeat(plan, in_repeat(run, plan.prepared.study.title), started)
            started = datetime.now(UTC)
        return found if len(plans) == 1 else run("report", "of all repeats", lambda _: pooled_report(study))


def run_repeat(plan: Plan, run: Runner, started: datetime) -> RunResult:
    """Make what one repeat's plan asks for, and its own report."""
    plan, results = run_plan(plan, run)  # fine-tune, generate, train; each classifier reads the test part once
    write_provenance(plan)  # the leakage groups that each part has seen, along its whole lineage
    return run("report", "", lambda _: report(plan, results, started))


def run_plan(plan: Plan, run: Runner) -> tuple[Plan, list[StepResult]]:
    """Make the plan's steps in order; gives the plan as it was made, and the result of each step.

    Where a fine-tune is stopped by request, what follows it is planned anew.
    """
    results: list[StepResult] = [plan.prepared.split_result]
    stages = [steps[0].stage for steps in plan.groups()]
    for number, (stage, following) in enumerate(zip(stages, [*stages[1:], ""], strict=True)):
        steps = list(plan.groups())[number]
        results += run(stage, ", ".join(step.what for step in steps), partial(run_group, plan, steps)).parts
        if stage != following and (leave := STAGES[stage].leave):
            leave(plan)
        if stage == "fine-tune" != following:
            plan = replanned(plan)
    return plan, results


def report(plan: Plan, results: Sequence[StepResult], started: datetime) -> RunResult:
    """Write run.json and thumbnails, then summary and report, of one repeat."""
    start = time.perf_counter()
    write_thumbnails(plan)
    write_run(plan, results, started)
    return _reported(write_report(plan.prepared.study.records), start)


def pooled_report(study: StudyConfig) -> RunResult:
    """Write the study's own run.json, which names its repeats, then summary and report of all of them together."""
    start = time.perf_counter()
    write_repeats(study, "run.json")
    return _reported(write_report(study.folder), start)


def _reported(page: Path, start: float) -> RunResult:
    summary = page.with_name("summary.json")
    return RunResult(
        stage="report",
        what="",
        seconds=round(time.perf_counter() - start, 2),
        reused=False,
        folder=page.parent,
        report=page,
        summary=summary,
        answer=answer(Summary.read(summary)),
    )


def _pieces(plans: Sequence[Plan]) -> int:
    """Pieces of work that follow: each plan's, its report, and that of all repeats where there are several."""
    return sum(len(list(plan.groups())) + 1 for plan in plans) + (len(plans) > 1)


@contextmanager
def run_lock(study: StudyConfig) -> Iterator[None]:
    """Hold the run's folder. Raises InputError where another run is at work in it."""
    make_folder(study.folder)
    lock = filelock.FileLock(study.folder.with_name(f".{study.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as fault:
        raise InputError(f"{study.folder}: another run is at work there; wait for it, or set another name=") from fault
    try:
        for records in {study.folder, *(repeat.records for repeat in study.repeats())}:
            remove_unfinished(records, below=False)  # below, a step may be at work in a process of its own
        yield
    finally:
        lock.release()
