"""Is anything lost, or taken for whole that is not, when a study is stopped at any moment? (docs/reliability.md)

    python benchmarks/reliability.py kill [--points 300]     killed at so many points, over all stages, and run again
    python benchmarks/reliability.py power [--points 100]    cut from its power at so many, in three ways in turn
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch: copies of this process run the study

import argparse
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import cv2
import torch
from reliability_sweep import Sweep, report, tried

_POINTS = {"kill": 300, "power": 100}
_REAL = 24  # one in so many kills is made by SIGKILL, beside those from copies


def main() -> int:
    """Run one of the sweeps; 0 where every crash ended as an undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(_POINTS))
    parser.add_argument("--points", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    begun = time.monotonic()
    points = asked.points or _POINTS[asked.what]
    with tempfile.TemporaryDirectory() as folder:
        made = Sweep(Path(folder))
        if asked.what == "power":
            crashes = tried(made.power_cuts(points))
        else:
            crashes = tried(chain(made.kills(points), made.real_kills(max(1, points // _REAL))))
    print("\n".join([f"{len(made.points)} points in a run", *report(crashes), f"{time.monotonic() - begun:.0f} s"]))
    return 1 if any(crash.found for crash in crashes) else 0


if __name__ == "__main__":
    sys.exit(main())
