"""Is anything lost, taken for whole that is not, or let in? The long form of what the tests do (docs/reliability.md).

    python benchmarks/reliability.py kill       a study is killed at 300 points, over all stages, and run again
    python benchmarks/reliability.py power      its power is cut at 100 points, in three ways in turn
    python benchmarks/reliability.py fuzz       143,000 damaged or made-up images, tables, configs, weights, bases, zips
    python benchmarks/reliability.py cost       what the defences cost: 10 pairs of runs, with and without

--points, --pairs and --share set how much is tried, --minutes when kill and power stop; --only one kind of input.
Linux only.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch: copies of this process run the study

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import cv2
import torch

_REAL = 24  # one in so many kills is made by SIGKILL, beside those from copies


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=sorted(_PARTS))
    parser.add_argument("--points", type=int, help="at which a run is killed, or its power cut")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which kill and power stop")
    parser.add_argument("--pairs", type=int, default=10, help="of runs with the defences and without")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of examples")
    parser.add_argument("--only", help="one kind of input, such as 'weight files'")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    wrong = False
    for what in asked.what:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            lines, is_well = _PARTS[what](asked, Path(folder))
        print("\n".join([*lines, f"{what}: {time.monotonic() - begun:.0f} s"]), flush=True)
        wrong |= not is_well
    return 1 if wrong else 0


def _kill(asked: argparse.Namespace, folder: Path) -> tuple[list[str], bool]:
    from reliability_sweep import Sweep, report, tried  # noqa: PLC0415 - each part loads its own

    count, made = asked.points or 300, Sweep(folder)
    crashes = tried(chain(made.real_kills(max(1, count // _REAL)), made.kills(count)), asked.minutes)
    return [f"{len(made.points)} points in a run", *report(crashes)], not any(crash.found for crash in crashes)


def _power(asked: argparse.Namespace, folder: Path) -> tuple[list[str], bool]:
    from reliability_sweep import Sweep, report, tried  # noqa: PLC0415

    made = Sweep(folder)
    crashes = tried(made.power_cuts(asked.points or 100), asked.minutes)
    return [f"{len(made.points)} points in a run", *report(crashes)], not any(crash.found for crash in crashes)


def _fuzz(asked: argparse.Namespace, _: Path) -> tuple[list[str], bool]:
    from reliability_fuzz import fuzz  # noqa: PLC0415
    from reliability_inputs import targets  # noqa: PLC0415

    lines, is_well = list[str](), True
    for name, target in targets().items():
        if asked.only in (None, name):
            try:
                taken, refused = fuzz(target, max(1, round(target.examples * asked.share)))
            except Exception as fault:  # noqa: BLE001 - whatever reading an example raised
                notes = getattr(fault, "__notes__", [])
                lines.append("\n".join([f"{name}: {type(fault).__name__}: {str(fault)[:300]}", *notes]))
                is_well = False
            else:
                lines.append(f"{name}: {taken} taken, {refused} refused in one line, nothing else")
    return lines, is_well


def _cost(asked: argparse.Namespace, folder: Path) -> tuple[list[str], bool]:
    from reliability_cost import SMALL, costs  # noqa: PLC0415

    return costs(folder / "runs", asked.pairs, SMALL), True


_PARTS: dict[str, Callable[[argparse.Namespace, Path], tuple[list[str], bool]]] = {
    "kill": _kill,
    "power": _power,
    "fuzz": _fuzz,
    "cost": _cost,
}

if __name__ == "__main__":
    sys.exit(main())
