"""How fast are images generated? Ours against diffusers' StableDiffusionPipeline as its documentation uses it.

All ways take turns in one process on one machine. A reference ends with images in memory, ours with written JPEG files.

    python benchmarks/sampling.py [--base tiny|sd15-shape] [--batch 32] [--rounds 3] [--no-compile]

`tiny` is the embedded base at 64 px; `sd15-shape` Stable Diffusion 1.5's architecture at 512 px with random weights,
which takes a GPU. The figures are written to runs/sampling.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from measure import log, machine, median_range, peak_flops, peak_memory, ratios, reset_peak_memory, wait
from sampling_ways import BASES, DOCUMENTED, Way, ways
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as transformers_logging

from augment import device as devices
from data.errors import ConfigError, exit_code
from data.store import write_json

_COLUMNS = (
    "way", "steps", "images at a time", "images/s", "against diffusers as documented", "against the same settings",
    "TFLOP/s", "share of peak", "peak memory, GiB", "first call, s",
)  # fmt: skip
_WEIGHTS = {"tiny": "the embedded base, 64 px", "sd15-shape": "Stable Diffusion 1.5's shape, random weights, 512 px"}
_CACHE = Path("runs/cache/compiled")


@dataclass(kw_only=True)
class Measurement:
    """What was measured of one way, turn by turn."""

    way: Way
    first: float  # seconds of a first call of one step, less a later one: time to compile
    flops: float  # of an image
    rates: list[float] = field(default_factory=list)  # images a second
    memory: list[float] = field(default_factory=list)  # peak in GiB


def measure(
    base: StableDiffusionPipeline, batch: int, rounds: int, *, compiled: bool
) -> tuple[list[Measurement], dict[str, float]]:
    """Measure all ways in turns; also the device's peak in FLOP/s, by precision."""
    found = []
    for way in ways(base, batch, compiled=compiled):
        log(f"warming up: {_title(way)}")
        first, later = _seconds(way, 1), _seconds(way, 1)
        found.append(Measurement(way=way, first=max(0.0, first - later), flops=flops_of(base, way)))
    peaks = {str(each.way.dtype): 0.0 for each in found}
    for turn in range(rounds):
        for each in found if turn % 2 == 0 else found[::-1]:
            log(f"round {turn + 1} of {rounds}: {_title(each.way)}")
            reset_peak_memory()
            each.rates.append(each.way.images / _seconds(each.way))
            each.memory.append(peak_memory())
        for each in {each.way.dtype for each in found}:
            peaks[str(each)] = max(peaks[str(each)], peak_flops(each))
    return found, peaks


def _seconds(way: Way, steps: int | None = None) -> float:
    wait()
    start = time.perf_counter()
    way.sample(steps)
    wait()
    return time.perf_counter() - start


def flops_of(base: StableDiffusionPipeline, way: Way) -> float:
    """FLOP of one image, counted on the meta device: nothing is computed."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(base.unet.config)
        vae = AutoencoderTiny() if way.small_decoder else AutoencoderKL.from_config(base.vae.config)
        tokens, width = base.tokenizer.model_max_length, base.unet.config.cross_attention_dim
        latents = torch.empty(1, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
        with torch.no_grad(), FlopCounterMode(display=False) as denoised:
            unet(latents, torch.empty(1), torch.empty(1, tokens, width))
        with torch.no_grad(), FlopCounterMode(display=False) as decoded:
            vae.decode(latents)
    return float(way.calls * denoised.get_total_flops() + decoded.get_total_flops())


def table(found: Sequence[Measurement], peaks: Mapping[str, float]) -> str:
    """The figures as Markdown; a ratio is of the two turns of one round."""
    by_name = {each.way.name: each for each in found if not each.way.ours}
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for each in found:
        way, rate = each.way, statistics.median(each.rates)
        same = by_name.get(way.same or "")
        cells = [
            _title(way),
            str(way.steps),
            str(way.images),
            median_range(each.rates),
            median_range(ratios(each.rates, by_name[DOCUMENTED].rates)),
            "-" if same is None else median_range(ratios(each.rates, same.rates)),
            f"{rate * each.flops / 1e12:.3g}",
            f"{rate * each.flops / peaks[str(way.dtype)]:.0%}",
            f"{max(each.memory):.1f}",
            f"{each.first:.1f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _title(way: Way) -> str:
    return f"{'ours' if way.ours else 'diffusers'}, {way.name}"


def heading(base: str, rounds: int, peaks: Mapping[str, float], *, cached: bool = False) -> str:
    """What was measured, and on which machine."""
    each = (f"{value / 1e12:.3g} TFLOP/s in {dtype.removeprefix('torch.')}" for dtype, value in peaks.items())
    return (
        f"{_WEIGHTS[base]}; {machine()}; {rounds} rounds: median [least, most]. "
        f"Peak by a product of matrices: {', '.join(each)}. "
        "Memory is that of the process with the weights of all ways. "
        f"torch.compile's cache {'held' if cached else 'did not hold'} an earlier run's kernels."
    )


def _write(found: Sequence[Measurement], peaks: Mapping[str, float], about: str, options: argparse.Namespace) -> Path:
    path = Path("runs/sampling") / f"{options.base}-{devices.default_device().type}.json"
    rows = [
        {
            **{key: value for key, value in vars(each.way).items() if key not in {"sample", "dtype"}},
            "dtype": str(each.way.dtype),
            "flops_an_image": each.flops,
            "images_a_second": each.rates,
            "first_call_seconds": each.first,
            "memory_gib": None if math.isnan(max(each.memory)) else max(each.memory),
        }
        for each in found
    ]
    write_json(path, {"about": about, "batch": options.batch, "peak_flops": dict(peaks), "ways": rows})
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="sampling", description="Generation of images, ours against diffusers' pipeline."
    )
    parser.add_argument("--base", choices=tuple(BASES), default="tiny", help="(default: tiny)")
    parser.add_argument("--batch", type=int, default=32, help="images at a time of our defaults (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: 3)")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes a minute")
    options = parser.parse_args(arguments)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.batch < 1 or options.rounds < 1:
        raise ConfigError("--batch and --rounds must be 1 or more")
    before = _CACHE.is_dir()
    devices.keep_compiled(_CACHE)
    found, peaks = measure(BASES[options.base](), options.batch, options.rounds, compiled=not options.no_compile)
    about = heading(options.base, options.rounds, peaks, cached=before)
    print(f"{about}\n\n{table(found, peaks)}\n\nfigures: {_write(found, peaks, about, options)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
