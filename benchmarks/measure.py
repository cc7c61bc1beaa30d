"""What every benchmark measures alike: the end of the device's work, peak memory, peak FLOP/s, median and range."""

import math
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from augment import device as devices

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def wait() -> None:
    """Wait until the device has finished its work."""
    if devices.default_device().type != "cpu":
        torch.accelerator.synchronize()


def reset_peak_memory() -> None:
    """Count the peak anew: of the device's memory, or by Linux of the process's."""
    if devices.default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.is_file():
        _CLEAR.write_text("5", encoding="ascii")


def peak_memory() -> float:
    """Peak in GiB since `reset_peak_memory`, of the device or the process; NaN where the system does not count it."""
    if devices.default_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    lines = _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.is_file() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), math.nan)


def peak_flops(dtype: torch.dtype) -> float:
    """FLOP/s of a product of large matrices, the best of a few."""
    device = devices.default_device()
    edge = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(edge, edge, device=device).to(dtype)
    best = 0.0
    for _ in range(4):
        wait()
        start = time.perf_counter()
        matrix @ matrix
        wait()
        best = max(best, 2 * edge**3 / (time.perf_counter() - start))
    return best


def median_range(values: Sequence[float]) -> str:
    """Median, smallest and largest, as `2 [1, 3]`."""
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The first's rate divided by the second's, round by round."""
    return [one / other for one, other in zip(first, second, strict=True)]


def log(line: str) -> None:
    """Print a line of progress on stderr."""
    print(f"  {line}", file=sys.stderr, flush=True)


def machine() -> str:
    """Name the device and the libraries."""
    device = devices.default_device()
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = f"{torch.get_num_threads()} threads of a {platform.machine()} processor with {capability}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu if device.type == "cpu" else device.type
    return f"{name}; torch {version('torch')}, diffusers {version('diffusers')}, peft {version('peft')}"
