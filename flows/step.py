"""Make one step of a study alone, in a process of its own.

    python -m flows.step CONFIG STEP [key=value ...]        e.g. configs/demo.yaml "arm real 0"
    python -m flows.step RUN STEP                           RUN: the folder of a run that has begun, e.g. runs/demo

Of a study that is repeated, CONFIG is told which repeat by study_seeds=[1], split.fold=2 and the like, and RUN is a
repeat's folder, e.g. runs/my-study/repeats/seed-1.

The plan is made anew from the config; a step is known by its id and digest, so the artefact lies where a run looks for
it. What the step needs must be finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.config import parse
from data.errors import ConfigError, InputError, exit_code
from data.store import read_json
from flows.checks import refuse_used_base
from flows.execute import run_group, set_up_libraries
from flows.machine_faults import machine_faults_in_one_line
from flows.plan import Plan
from flows.prepare import prepare
from flows.show_plan import PLAN, replanned
from flows.stages.table import make_plan
from flows.steps import GroupResult, Runner
from flows.study import StudyConfig, load_study


def make_step(plan: Plan, name: str, run: Runner, digest: str | None = None) -> GroupResult:
    """Make the step of this id.

    Raises InputError for an unknown id, another digest, a need that is missing, or a base that a run would refuse.
    """
    steps = {step.id: step for step in plan.steps}
    if name not in steps:
        raise InputError(f"the plan has no step {name!r}; it has {', '.join(steps)}")
    step = steps[name]
    if digest not in (None, step.digest):
        raise InputError(
            f"step {name!r} is {step.digest[:12]} here, but {str(digest)[:12]} is wanted: the data, the config or a "
            "library differ; make both processes use the same"
        )
    missing = [need for need in step.needs if not steps[need].is_finished]
    if missing:
        raise InputError(f"step {name!r} needs {missing[0]!r}, which is not finished; make that first")
    refuse_used_base(plan)
    return run(step.stage, step.what, lambda progress: run_group(plan, (step,), progress))


def single(study: StudyConfig, source: Path) -> StudyConfig:
    """The study itself, if it has one repeat. Raises ConfigError for several, as a step is of one."""
    repeats = study.repeats()
    if len(repeats) == 1:
        return study
    first = repeats[0]
    overrides = [f"study_seeds=[{first.study_seed}]"]
    overrides += [f"generator_seeds=[{first.generator_seed}]"] if study.generator_seeds else []
    overrides += [f"split.fold={first.split.fold}"] if first.split.fold is not None else []
    raise ConfigError(
        f"{source}: has {len(repeats)} repeats, and a step is of one; add {' '.join(overrides)}, or give the folder of "
        f"a repeat that has begun, e.g. {first.records}"
    )


def study_of(source: Path, overrides: Sequence[str] = ()) -> tuple[StudyConfig, dict[str, str]]:
    """The study of a config, or of a run's or a repeat's folder with the digests of its steps. Raises ConfigError."""
    if not source.is_dir():
        return single(load_study(source, overrides), source), {}
    if overrides:
        raise ConfigError(f"{source}: a run's config cannot be overridden; give the YAML file instead")
    try:
        record = read_json(source / PLAN)
        place = source.resolve()  # the folder may have been moved, and `.` has no name
        if record["config"]["is_repeat"]:
            place = place.parents[1]
        here = {"name": place.name, "output_dir": str(place.parent)}
        study = parse(StudyConfig, {**record["config"], **here}, str(source / PLAN))
        digests = {name: step["digest"] for name, step in record.get("steps", {}).items()}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ConfigError(f"{source}: holds no {PLAN} of a run; give a config, or a run folder") from fault
    return single(study, source), digests


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.step", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="CONFIG|RUN")
    parser.add_argument("step", help='its id, as `lesionloom plan` lists it, e.g. "fine-tune df"')
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _made(parsed.source, parsed.step, parsed.overrides))


def _made(source: Path, name: str, overrides: Sequence[str]) -> int:
    from rich.console import Console  # noqa: PLC0415 - the help needs none

    from flows.terminal import TerminalRunner  # noqa: PLC0415

    run = TerminalRunner(Console(highlight=False))
    study, digests = study_of(source, overrides)
    set_up_libraries(study)
    with machine_faults_in_one_line(study.output_dir):
        plan = make_plan(prepare(study, run))
        done = make_step(plan, name, run, digests.get(name))
        replanned(plan)  # a fine-tune may have been stopped
    print(done.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
