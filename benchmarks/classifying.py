"""How fast is a classifier's training, and which share of a step do its images take? Ours against timm's train.py.

Both train the same network in one process, taking turns on the same JPEG files (phantoms; of HAM10000's size for
images of 128 pixels and more). timm's workers fill their queue while neither is timed.

    python benchmarks/classifying.py [--sizes 64 224] [--batch 32] [--rounds 5] [--augment-device auto|cpu|device]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from classifying_sides import Ours, Side, Timm, config_of, labelled
from classifying_table import Measurement, Options, report
from torch.utils.flop_counter import FlopCounterMode

from classify.fit import Labelled
from classify.model import build
from data.errors import ConfigError, exit_code
from data.manifest import Manifest
from data.phantoms.table import CODES, PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest

_LARGE = 128  # pixels, from which the files are as large as HAM10000's
_PAUSE = 2.0  # seconds between turns
_EPOCH = 8  # batches


def measure(folder: Path, size: int, options: Options) -> Measurement:
    """Measure one size."""
    steps, batch, model = options.steps_at(size), options.batch, options.model
    files = _files(folder, size, batch)
    loading, train = _loaded(files, size, folder / "cache" / f"{time.time_ns()}")
    seeds, ours = _starts(train, options)
    theirs = Timm(_by_class(files, folder / f"classes-{size}-{batch}"), len(CODES), model, size, batch)
    for side in (ours, theirs):  # compiles, fills queues
        side.turn(3)
    turns: dict[Side, list[float]] = {ours: [], theirs: []}
    for _ in range(options.rounds):
        for side, rates in turns.items():
            time.sleep(_PAUSE)
            rates.append(steps * batch / side.turn(steps))
    data, waiting = (part / whole for part, whole in (side.shares(steps) for side in (ours, theirs)))
    return Measurement(
        size=size,
        images=len(files),
        ours=turns[ours],
        theirs=turns[theirs],
        data=data,
        waiting=waiting,
        loading=loading,
        seeds=seeds,
        flops=_flops(model, size),
    )


def _files(folder: Path, size: int, batch: int) -> Manifest:
    width, height = (600, 450) if size >= _LARGE else (160, 120)
    phantom = PhantomConfig(images=_EPOCH * batch, width=width, height=height, balanced=True)
    return load_manifest(DataConfig(source="phantom", phantom=phantom), folder / "data")


def _loaded(files: Manifest, size: int, cache: Path) -> tuple[tuple[float, float], Labelled]:
    """Seconds of loading the images decoded and then cached, and the images."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        pixels = load_pixels(files, PixelConfig(size=size), cache)
        seconds.append(time.perf_counter() - start)
    return (seconds[0], seconds[1]), labelled(pixels, files)


def _starts(train: Labelled, options: Options) -> tuple[list[float], Ours]:
    """Start-up times of three seeds, one after another in this process, and the last one's training."""
    seconds, config = [], config_of(options.model, options.batch, options.augment_device)
    for seed in range(3):
        start = time.perf_counter()
        ours = Ours(train, len(CODES), config, seed)
        ours.turn(1)
        first = time.perf_counter() - start
        seconds.append(max(0.0, first - min(ours.turn(1) for _ in range(2))))
    return seconds, ours


def _by_class(files: Manifest, folder: Path) -> Path:
    """Link the files as train.py expects them, in a folder a class."""
    for label, path in zip(files.table["label"], files.paths(), strict=True):
        link = folder / "train" / label / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.resolve())
    return folder


def _flops(model: str, size: int) -> float:
    """FLOP of one image's training: three times the forward pass, as is usual.

    The backward pass cannot be counted: torch's counter takes a depthwise convolution there for a full one.
    """
    network = build("none", len(CODES), architecture=model).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.randn(2, 3, size, size))
    return 3 * counter.get_total_flops() / 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="classifying", description="A classifier's training, ours against timm's.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="pixels (default: 64 224)")
    parser.add_argument("--batch", type=int, default=32, help="images a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--steps", type=int, help="of a turn (default: 16 at 64 px, fewer at more on a processor)")
    parser.add_argument("--augment-device", choices=("auto", "cpu", "device"), default="auto", help="(default: auto)")
    parser.add_argument("--model", default="efficientnet_b0", help="a network of timm (default: efficientnet_b0)")
    parser.add_argument("--out", type=Path, default=Path("runs/classifying"), help="for the files")
    options = vars(parser.parse_args(arguments))
    folder, sizes = options.pop("out"), options.pop("sizes")
    return exit_code(lambda: _run(folder, sizes, Options(**options)))


def _run(folder: Path, sizes: Sequence[int], options: Options) -> int:
    if min(sizes) < 1 or options.batch < len(CODES) or options.rounds < 1:
        raise ConfigError(f"--sizes and --rounds must be 1 or more, --batch {len(CODES)} or more")
    print(report([measure(folder, size, options) for size in sizes], options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
