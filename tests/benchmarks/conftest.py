import sys
from pathlib import Path

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
if BENCHMARKS not in sys.path:  # they are programs beside each other, not a package
    sys.path.insert(0, BENCHMARKS)
