"""The command `lesionloom`: every program of the project under one name, with help and shell completion.

Exit codes are the same everywhere: 0, 1 for a failure of the program, 2 for bad input, 130 after Ctrl-C. What a command
needs is imported when it runs, since torch takes seconds and `--help` needs none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from data.errors import exit_code

Overrides = Annotated[str, Parameter(help="settings laid over the config, such as classifier.steps=40")]
Config = Annotated[Path, Parameter(help="a study's YAML file")]

app = App(
    name="lesionloom",
    help="Does few-shot diffusion augmentation make a classifier of an imbalanced medical image set better?",
    version_flags=[],
    result_action="return_value",
)
app.register_install_completion_command(help="Install completion of commands and options for this shell.")


@app.command
def run(
    config: Config,
    /,
    *overrides: Overrides,
    verify: Annotated[
        bool, Parameter(negative="", help="read all that is finished, and make damaged parts anew")
    ] = False,
) -> int:
    """Run a study and write its report; what is finished is kept."""
    from flows.augment_and_evaluate import main as command  # noqa: PLC0415

    return command([str(config), *overrides, *(["--verify"] if verify else [])])


@app.command
def plan(config: Config, /, *overrides: Overrides) -> int:
    """List the steps of a study, what is there and what disk it takes; nothing is made."""
    from flows.show_plan import show  # noqa: PLC0415

    return show(config, overrides)


@app.command
def step(
    source: Annotated[Path, Parameter(help="a study's YAML file, or the folder of a run that has begun")],
    step: Annotated[str, Parameter(help='its id, as `lesionloom plan` lists it, e.g. "fine-tune df"')],
    /,
    *overrides: Overrides,
) -> int:
    """Make one step of a study in a process of its own; what it needs must be finished."""
    from flows.step import main as command  # noqa: PLC0415

    return command([str(source), step, *overrides])


@app.command
def doctor(
    config: Config,
    /,
    *overrides: Overrides,
    every: Annotated[bool, Parameter(name="--all", negative="", help="list every example of a fault")] = False,
) -> int:
    """Validate a study's images and table before anything is trained."""
    from data.doctor.__main__ import main as command  # noqa: PLC0415

    return command([str(config), *overrides, *(["--all"] if every else [])])


@app.command
def predict(
    model: Annotated[Path, Parameter(help="a run folder or a classifier's model folder")],
    images: Annotated[Path, Parameter(help="a folder of images")],
    /,
    *,
    arm: Annotated[str | None, Parameter(help="which arm's classifier (default: the last arm's)")] = None,
    seed: Annotated[int | None, Parameter(help="which classifier seed (default: the first)")] = None,
    follow_links: Annotated[
        Path | None, Parameter(help="a folder outside of the images' into which their links may lead")
    ] = None,
    out: Annotated[Path, Parameter(help="the CSV of probabilities")] = Path("predictions.csv"),
) -> int:
    """Apply a trained classifier to a folder of images."""
    from classify.predict import main as command  # noqa: PLC0415

    options = {"--arm": arm, "--seed": seed, "--follow-links": follow_links, "--out": out}
    named = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return command([str(model), str(images), *named])


@app.command
def export(
    folder: Annotated[Path, Parameter(help="the folder of a finished run")],
    /,
    *,
    program: Annotated[Literal["webui", "kohya", "diffusers"], Parameter(name="--for", help="the other program")],
    out: Annotated[Path | None, Parameter(help="where to write (default: export/PROGRAM in the run)")] = None,
    label: Annotated[str | None, Parameter(help="which class's adapter (default: all)")] = None,
    ckpt: Annotated[bool, Parameter(negative="", help="a whole model as a .ckpt too")] = False,
) -> int:
    """Write a run's adapters as files of another program, each with a card."""
    from flows.export import main as command  # noqa: PLC0415

    options = {"--for": program, "--out": out, "--label": label}
    named = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return command([str(folder), *named, *(["--ckpt"] if ckpt else [])])


@app.command
def report(folder: Annotated[Path, Parameter(help="the folder of a finished run")], /) -> int:
    """Draw a finished run's report again."""
    from reports.render import main as command  # noqa: PLC0415

    return command([str(folder)])


@app.command
def pool(
    *folders: Annotated[Path, Parameter(help="the folder of each repeat's finished run")],
    out: Annotated[Path | None, Parameter(help="where to write (default: NAME-pooled beside the runs)")] = None,
) -> int:
    """Pool a study's repeats (study seeds, generator seeds, folds) that ran one by one into one report."""
    from reports.pool import main as command  # noqa: PLC0415

    return command([*map(str, folders), *(["--out", str(out)] if out else [])])


@app.command
def page(
    folder: Annotated[Path, Parameter(help="the folder of a run, finished or not")],
    /,
    *,
    host: Annotated[
        str, Parameter(help="where to listen; another machine's address needs a certificate")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0: any that is free")] = 7860,
    certificate: Annotated[Path | None, Parameter(help="PEM, for an address beyond this machine")] = None,
    key: Annotated[Path | None, Parameter(help="PEM, the certificate's key")] = None,
) -> int:
    """Draw by hand in a browser, beside the run's photographs, and accept images into an arm."""
    from flows.page.serve import Address, serve_run  # noqa: PLC0415

    return serve_run(folder, Address(host=host, port=port, certificate=certificate, key=key))


@app.command
def pretrain(config: Config, /, *overrides: Overrides) -> int:
    """Train a small base model from scratch, such as the embedded one."""
    from augment.base.pretrain import main as command  # noqa: PLC0415

    return command([str(config), *overrides])


@app.command
def clean(
    folder: Annotated[Path, Parameter(help="the folder of runs, `output_dir`")] = Path("runs"),
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", help="remove without asking")] = False,
) -> int:
    """Remove decoded photographs, thumbnails and the reports that hold them, after showing which and how large."""
    from flows.clean import main as command  # noqa: PLC0415

    return command([str(folder), *(["--yes"] if yes else [])])


@app.command
def start() -> int:
    """Start Prefect's server and worker with the deployments, each where it is missing."""
    return _launch("up")


@app.command
def stop(
    folder: Annotated[Path | None, Parameter(help="the folder of a run whose fine-tune is at work")] = None,
    /,
    *labels: Annotated[str, Parameter(help="which classes (default: all that are in training)")],
) -> int:
    """Stop a run's fine-tune and keep what it has learnt; without a run, the Prefect server and worker started here."""
    if folder is None:
        return _launch("stop")
    from augment.finetune.stopping import request_stop  # noqa: PLC0415

    def ask() -> int:
        stopping = request_stop(folder, labels)
        print(f"{', '.join(stopping)}: the fine-tune stops after its present step, and is kept as it is then")
        return 0

    return exit_code(ask)


@app.command
def resume(
    folder: Annotated[Path, Parameter(help="the folder of a run with a fine-tune that was stopped by request")],
    /,
    *labels: Annotated[str, Parameter(help="which classes (default: all that were stopped)")],
) -> int:
    """Let the next run train stopped fine-tunes to their end, from the step at which they were stopped."""
    from flows.resume import resume as reopened  # noqa: PLC0415

    def ask() -> int:
        for label, step in reopened(folder, labels).items():
            print(f"{label}: goes on from step {step} with the next `lesionloom run`")
        return 0

    return exit_code(ask)


@app.command
def test(*arguments: Annotated[str, Parameter(help="further arguments for pytest", allow_leading_hyphen=True)]) -> int:
    """Run linters, type checks, import layers and tests."""
    return _launch("test", *arguments)


def _launch(*arguments: str) -> int:
    from flows.start import main as command  # noqa: PLC0415

    return command(list(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as fault:
        print(f"error: {' '.join(str(fault).split())} `lesionloom --help` lists the commands", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
