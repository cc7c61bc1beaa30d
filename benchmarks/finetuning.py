"""How fast is fine-tuning? All classes in one batch, against one after another and the public script's loop.

All ways take turns in one process on one machine, on phantoms of the rarest classes.

    python benchmarks/finetuning.py [--base tiny|sd15-shape] [--classes 3] [--batch 16] [--rounds 10] [--steps 2]

`sd15-shape` is Stable Diffusion 1.5's architecture at 512 px with random weights, which takes a GPU. The figures are
written to runs/finetuning.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from finetuning_ways import ALL, OURS, PEFT, SAME, SCRIPT, Way, ways
from measure import log, machine, median_range, peak_flops, peak_memory, ratios, reset_peak_memory, wait
from sampling_ways import BASES
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as transformers_logging

from augment import device as devices
from augment.finetune.examples import ClassExamples, class_prompts, encode_posteriors
from augment.methods.lora import LoraConfig
from augment.prompts import PromptConfig
from data.errors import ConfigError, exit_code
from data.manifest import Manifest
from data.phantoms.table import CODES, PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.store import derive_seed, write_json

_SHOTS = 16
_RAREST = ("df", "vasc", "akiec", "bcc", "bkl", "mel", "nv")
_TARGETS = ((SCRIPT, 2.0), (SAME, 2.0), (PEFT, 1.2), (OURS, 1.2))
_COLUMNS = ("way", "samples/s", "speed-up by one batch", "GFLOP a sample", "TFLOP/s", "share of peak",
            "peak memory, GiB")  # fmt: skip


@dataclass(kw_only=True)
class Measurement:
    """What was measured of one way, turn by turn."""

    way: Way
    flops: float  # of a sample
    rates: list[float] = field(default_factory=list)  # samples a second
    memory: list[float] = field(default_factory=list)  # peak in GiB


def measure(made: Sequence[Way], rounds: int) -> list[Measurement]:
    """Measure all ways in turns, in reversed order every other round."""
    found = []
    for way in made:
        log(f"warming up: {way.name}")
        way.turn()
        with FlopCounterMode(display=False) as counter:
            way.turn()
        found.append(Measurement(way=way, flops=counter.get_total_flops() / way.samples))
    for turn in range(rounds):
        log(f"round {turn + 1} of {rounds}")
        for each in found if turn % 2 == 0 else found[::-1]:
            reset_peak_memory()
            wait()
            start = time.perf_counter()
            each.way.turn()
            wait()
            each.rates.append(each.way.samples / (time.perf_counter() - start))
            each.memory.append(peak_memory())
    return found


def make_ways(base: str, classes: int, config: LoraConfig, out: Path, steps: int) -> list[Way]:
    """All ways, with the phantoms of the classes encoded."""
    pipe = devices.to_device(BASES[base](), devices.default_device(), torch.float32)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(requires_grad=False)
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    phantom = PhantomConfig(images=_SHOTS * len(CODES), balanced=True)
    phantoms = load_manifest(DataConfig(source="phantom", phantom=phantom), out / "data")
    examples, files = {}, {}
    for label in _RAREST[:classes]:
        shots = _first_shots(phantoms.of(label))
        pixels = load_pixels(shots, PixelConfig(size=size))
        means, stds = encode_posteriors(pipe, pixels, dihedral=config.dihedral)
        prompts, _ = class_prompts(label, shots, None, PromptConfig())
        no_prior = torch.empty(0, *means.shape[2:])
        examples[label] = ClassExamples(label, derive_seed(0, label), prompts, means, stds, no_prior)
        files[label] = shots.paths()
    return ways(pipe, examples, files, config, out / "work", steps)


def _first_shots(manifest: Manifest) -> Manifest:
    return manifest.where(manifest.table.reset_index().index < _SHOTS)


def table(found: Sequence[Measurement], fastest: float) -> str:
    """The figures as Markdown; a ratio is of the two turns of one round."""
    (one_batch,) = (each for each in found if each.way.name == ALL)
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for each in found:
        rate = statistics.median(each.rates) * each.flops
        cells = [
            each.way.name,
            median_range(each.rates),
            "-" if each is one_batch else median_range(ratios(one_batch.rates, each.rates)),
            f"{each.flops / 1e9:.3g}",
            f"{rate / 1e12:.3g}",
            f"{rate / fastest:.0%}",
            f"{max(each.memory):.1f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def targets(found: Sequence[Measurement]) -> str:
    """Which targets the median ratios reach, a line each."""
    by_name = {each.way.name: each for each in found}
    lines = []
    for name, target in _TARGETS:
        ratio = statistics.median(ratios(by_name[ALL].rates, by_name[name].rates))
        lines.append(
            f"{ratio:.2f} times {name}: the target of {target:g} is {'reached' if ratio >= target else 'missed'}."
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="finetuning", description="Fine-tuning of several classes, timed.")
    parser.add_argument("--base", choices=tuple(BASES), default="tiny", help="(default: tiny)")
    parser.add_argument("--classes", type=int, default=3, help=f"1 to {len(_RAREST)} (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="samples of a class and step (default: 16)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each way (default: 10)")
    parser.add_argument("--steps", type=int, default=2, help="of each class in a turn (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/finetuning"), help="for images and figures")
    options = parser.parse_args(arguments)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if not 1 <= options.classes <= len(_RAREST) or min(options.batch, options.rounds, options.steps) < 1:
        raise ConfigError(f"--classes must be 1 to {len(_RAREST)}, the other numbers 1 or more")
    config = LoraConfig(steps=10**6, batch_size=options.batch, checkpointing_steps=10**6, preview_every=0)
    found = measure(make_ways(options.base, options.classes, config, options.out, options.steps), options.rounds)
    fastest = peak_flops(devices.training_dtype(devices.default_device()))
    about = (
        f"{options.base}, {options.classes} classes, {options.batch} samples of a class and step, rank {config.rank}; "
        f"{machine()}; {options.rounds} rounds: median [least, most]. Peak by a product of matrices: "
        f"{fastest / 1e12:.3g} TFLOP/s. Memory is that of the process with the weights of all ways."
    )
    print(f"{about}\n\n{table(found, fastest)}\n\n{targets(found)}")
    rows = [
        {"way": each.way.name, "samples_a_second": each.rates, "flops_a_sample": each.flops, "gib": each.memory}
        for each in found
    ]
    path = options.out / f"{options.base}-{devices.default_device().type}.json"
    write_json(path, {"about": about, "peak_flops": fastest, "ways": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
