"""The repeats of a study in one report: the folds of a cross-validation, several study seeds or generator seeds.

    python -m reports.pool runs/my-study-0 runs/my-study-1 ... [--out FOLDER]

writes summary.json and report.html, the page of one run with its repeats named, into FOLDER (runs/my-study-pooled). A
study that repeats itself, by `study_seeds` or `split.n_splits` of its config, has that report from its own run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from data.errors import exit_code
from reports.pooled import pool
from reports.render import write_page
from reports.run_folder import RunFolder, repeats_of


def write_pooled(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the pooled summary and report, and give the report's path. A study's folder stands for all its repeats."""
    found = list(chain.from_iterable(repeats_of(run) or (run,) for run in runs))
    name = _name(RunFolder.open(found[0]))
    folder = out or runs[0].with_name(f"{name}-pooled")
    return write_page(pool(found, folder, name), folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.pool", description="Pool the runs of a study's repeats into one report."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of each repeat's finished run")
    parser.add_argument("--out", type=Path, help="where to write (default: NAME-pooled beside the runs)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _pool(options.runs, options.out))


def _pool(runs: Sequence[Path], out: Path | None) -> int:
    print(write_pooled(runs, out))
    return 0


def _name(run: RunFolder) -> str:
    """Name of the study: `my-study` where a repeat's run is `my-study-0`."""
    return re.sub(r"-\d+$", "", str(run.record["name"]))


if __name__ == "__main__":
    raise SystemExit(main())
