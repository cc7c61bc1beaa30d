"""Which sampler to take? How far 20 steps of each are from 60, how often each calls the denoiser, and its time.

The distance is the root mean square of the images' differences in grey levels, for samplers that solve the ODE: one
that adds noise on the way makes other images with other steps. All samplers take turns in one process.

    python benchmarks/samplers.py [--images 4] [--rounds 3] [--samplers euler,heun]

The base is the embedded one, at 64 px, and guidance the default's. The figures are written to runs/samplers.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from measure import log, machine, median_range, ratios, wait

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from augment.diffusion.sampler_names import canonical_name, sampler_named
from augment.diffusion.sampler_table import SAMPLERS
from augment.diffusion.samplers import require_package, scheduler_for
from augment.prompts import prompt_for
from data.errors import ConfigError, exit_code
from data.store import write_json

STEPS, REFERENCE_STEPS = 20, 60
LIMIT = 3.0  # grey levels that 20 steps may be from 60
DEFAULT = "dpm++-2m"  # the sampler of `preset: quality`
_COLUMNS = (
    "sampler", "record", "calls of the denoiser", "20 steps from 60, grey levels", "the same with Karras",
    "seconds an image", "times the default's",
)  # fmt: skip
_DISTILLED = {"lcm", "tcd", "ddim-hyper-sd"}


@dataclass(kw_only=True)
class Measurement:
    """What was measured of one sampler."""

    name: str
    calls: int  # of the denoiser in 20 steps, without guidance's
    distance: float | None = None  # grey levels; None: it adds noise, and has none
    karras: float | None = None  # the same with Karras' noise levels; None: it has none of these either
    seconds: list[float] = field(default_factory=list)  # an image, round by round


def rms(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square of the difference, in grey levels."""
    return float(np.sqrt(np.mean((first.astype(float) - second.astype(float)) ** 2)))


def measure(
    pipe: StableDiffusionPipeline, images: PromptedSeeds, names: Sequence[str], rounds: int
) -> list[Measurement]:
    """Measure the samplers: their distances, then their times in turns."""
    found = []
    for name in names:
        log(f"{name}: {REFERENCE_STEPS} steps")
        row = SAMPLERS[name]
        each = Measurement(name=name, calls=len(scheduler_for(pipe, name, STEPS).timesteps))
        if not row.adds_noise:
            each.distance = _distance(pipe, images, name)
            each.karras = _distance(pipe, images, f"{name}-karras") if "karras" in row.spacings else None
        found.append(each)
    for turn in range(rounds):
        for each in found if turn % 2 == 0 else found[::-1]:
            log(f"round {turn + 1} of {rounds}: {each.name}")
            each.seconds.append(_seconds(pipe, images, each.name))
    return found


def _distance(pipe: StableDiffusionPipeline, images: PromptedSeeds, name: str) -> float:
    few, many = (decode(pipe, _sampled(pipe, images, name, steps)) for steps in (STEPS, REFERENCE_STEPS))
    return rms(few, many)


def _seconds(pipe: StableDiffusionPipeline, images: PromptedSeeds, name: str) -> float:
    wait()
    start = time.perf_counter()
    _sampled(pipe, images, name, STEPS)
    wait()
    return (time.perf_counter() - start) / len(images)


def _sampled(pipe: StableDiffusionPipeline, images: PromptedSeeds, name: str, steps: int) -> torch.Tensor:
    return sample_batch(pipe, images, SamplerConfig(steps=steps, batch_size=len(images)), sampler=name)


def table(found: Sequence[Measurement]) -> str:
    """The figures as Markdown; a distance beyond the limit is bold, and a ratio is of the two turns of one round."""
    default = next(each for each in found if each.name == DEFAULT)
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for each in found:
        cells = [
            SAMPLERS[each.name].label,
            f"`{each.name}`",
            str(each.calls),
            _level(each.distance),
            _level(each.karras),
            f"{statistics.median(each.seconds):.2f}",
            median_range(ratios(each.seconds, default.seconds)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _level(distance: float | None) -> str:
    if distance is None:
        return "-"
    return f"**{distance:.1f}**" if distance > LIMIT else f"{distance:.1f}"


def chosen(asked: str | None) -> list[str]:
    """The samplers to measure, the default among them. Raises ConfigError for one that is not known or installed."""
    if asked is None:
        known = [name for name in SAMPLERS if name not in _DISTILLED]
        return [name for name in known if (package := SAMPLERS[name].package) is None or _is_installed(package)]
    names = list(dict.fromkeys([DEFAULT, *(sampler_named(canonical_name(each)).name for each in asked.split(","))]))
    for name in names:
        require_package(sampler_named(name))
    return names


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="samplers", description="Distance, calls and time of each sampler.")
    parser.add_argument("--images", type=int, default=4, help="(default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each sampler's timing (default: 3)")
    parser.add_argument("--samplers", help="names with commas between (default: all that are installed)")
    return exit_code(lambda: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    if options.images < 1 or options.rounds < 1:
        raise ConfigError("--images and --rounds must be 1 or more")
    names, device = chosen(options.samplers), devices.default_device()
    pipe = devices.to_device(load_base(BaseConfig()), device, torch.float32)
    images = PromptedSeeds(
        prompt_embeds=encode_prompt(pipe, prompt_for("mel")),
        negative_embeds=encode_prompt(pipe, ""),
        seeds=range(1000, 1000 + options.images),
    )
    found = measure(pipe, images, names, options.rounds)
    about = f"{options.images} images of 64 px at a time; {machine()}; {options.rounds} rounds: median [least, most]."
    path = Path("runs/samplers") / f"{device.type}.json"
    write_json(path, {"about": about, "samplers": [vars(each) for each in found]})
    print(f"{about}\n\n{table(found)}\n\nfigures: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
