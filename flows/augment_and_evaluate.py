"""The flow `augment-and-evaluate`, and the same run by hand.

python -m flows.augment_and_evaluate configs/demo.yaml classifier.steps=40

needs no server. Under Prefect the steps are tasks, and config and overrides are parameters. The stages
are imported when a run begins, since torch and diffusers take seconds and `--help` needs none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.errors import InputError, MachineError, TrainingError, exit_code

USAGE = "usage: python -m flows.augment_and_evaluate CONFIG [key=value ...], e.g. configs/demo.yaml 'study_seeds=[1]'"


@flow(name="augment-and-evaluate", flow_run_name="{config}", persist_result=False)
def augment_and_evaluate(config: str = "configs/demo.yaml", overrides: list[str] | None = None) -> State[None]:
    """Whether images of a diffusion model, fine-tuned on a few images of each rare class, make a classifier better.

    Args:
        config: Path of a study's YAML file, from the project's folder.
        overrides: Settings laid over it, such as `classifier.steps=40`.
    """
    get_run_logger().info("loading torch and diffusers")
    from flows.pipeline import run_study  # noqa: PLC0415 - see above
    from flows.prefect_tasks import PrefectRunner, show_report, unfinished  # noqa: PLC0415
    from flows.study import load_study  # noqa: PLC0415

    try:
        found = run_study(load_study(config, overrides or ()), PrefectRunner())
    except (InputError, TrainingError, MachineError) as fault:
        return unfinished(fault)
    get_run_logger().info(found.answer)
    show_report(found)
    return Completed(message=f"{found.answer}\nReport: {found.report.resolve()}")


def main(arguments: list[str]) -> int:
    """Run by hand. Exit code: 0, 1 failed training, 2 bad input, 3 a fault of the machine, 130 after Ctrl-C."""
    if not arguments or arguments[0].startswith("-"):
        wants_help = arguments in (["-h"], ["--help"])
        print(USAGE, file=sys.stdout if wants_help else sys.stderr)
        return 0 if wants_help else 2
    stopped = (
        "stopped; the same command again goes on from what is finished (`lesionloom stop RUN` ends a fine-tune early "
        "and keeps it)"
    )
    return exit_code(lambda: _by_hand(arguments[0], arguments[1:]), stopped)


def _by_hand(config: str, overrides: list[str]) -> int:
    if not Path(config).is_file():  # checked before the imports, which take seconds
        raise InputError(f"{config}: no such file; give the path of a YAML config, e.g. configs/demo.yaml")
    from rich.console import Console  # noqa: PLC0415 - see above

    console = Console(highlight=False)
    console.print("loading torch and diffusers")
    from flows.pipeline import run_study  # noqa: PLC0415
    from flows.study import load_study  # noqa: PLC0415
    from flows.terminal import TerminalRunner  # noqa: PLC0415

    found = run_study(load_study(config, overrides), TerminalRunner(console))
    console.print(f"\n{found.answer}\n\nReport: {found.report.resolve()}", markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
