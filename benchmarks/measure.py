"""What every benchmark counts in one way: time to the device's end, memory, the device's peak, a spread."""

import math
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from augment import device

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def wait() -> None:
    """Wait until the device has done what it was told."""
    if device.default_device().type != "cpu":
        torch.accelerator.synchronize()


def forget_memory() -> None:
    """Let the most that is used be counted anew: on the device, or by Linux for the process."""
    if device.default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.is_file():
        _CLEAR.write_text("5", encoding="ascii")


def memory() -> float:
    """GiB that were used at the most; NaN where nobody says."""
    if device.default_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    lines = _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), math.nan)


def peak(dtype: torch.dtype) -> float:
    """FLOP/s of a product of large matrices, the best of a few."""
    where = device.default_device()
    edge = 8192 if where.type == "cuda" else 2048
    one = torch.randn(edge, edge, device=where).to(dtype)
    best = 0.0
    for _ in range(4):
        wait()
        start = time.perf_counter()
        one @ one
        wait()
        best = max(best, 2 * edge**3 / (time.perf_counter() - start))
    return best


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """How many times as fast one was as the other, round by round."""
    return [mine / theirs for mine, theirs in zip(one, other, strict=True)]


def say(line: str) -> None:
    """Tell what is being done, beside the figures."""
    print(f"  {line}", file=sys.stderr, flush=True)


def machine() -> str:
    """Name the device and the libraries."""
    where = device.default_device()
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = f"{torch.get_num_threads()} threads of a {platform.machine()} processor with {capability}"
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else cpu if where.type == "cpu" else where.type
    return f"{name}; torch {version('torch')}, diffusers {version('diffusers')}, peft {version('peft')}"
