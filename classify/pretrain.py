"""The embedded start of classifiers: an EfficientNet-B0 trained on phantoms of the four commonest classes.

    python -m classify.pretrain [--out classify/start]

It needs no hub and holds nothing of any patient or licence. It has seen no rare class, and no phantom of a study:
its phantoms have a seed from 1,000,000 on, which a study should not take. Weights are kept in 16 bits, without the last
layer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file

from classify.config import ClassifierConfig
from classify.embedded import FOLDER, RECORD, WEIGHTS
from classify.oracle import STUDY_SEEDS
from classify.record import ArmRecord
from classify.train import ArmTask, train_arm
from data.config import STRICT, parse, to_dict
from data.errors import exit_code
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig
from data.progress import Progress
from data.sources.load import DataConfig, load_manifest
from data.splits.split import SplitConfig, make_split
from data.store import file_sha256, write_json

CODES = ("bcc", "bkl", "mel", "nv")  # the commonest four of HAM10000
_HEAD = "classifier."  # of EfficientNet-B0's last layer, which every study trains for its own classes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StartConfig:
    """How the start is trained. The defaults take about 20 minutes on two cores."""

    images: Annotated[int, Field(ge=80)] = 24_000  # phantoms, as many of each class
    seed: Annotated[int, Field(ge=STUDY_SEEDS)] = (
        8_000_000  # of the phantoms; a study should have none from 1,000,000 on
    )
    pixels: PixelConfig = PixelConfig()
    classifier: ClassifierConfig = ClassifierConfig(
        steps=4000,
        learning_rate=3e-3,
        warmup=0.05,
        weight_decay=0.02,
        ema_decay=0.995,
        validate_every=1000,
    )


def pretrain(out: Path, config: StartConfig, working: Path, progress: Progress | None = None) -> Path:
    """Train the start and write weights and record into `out`; an interrupted training goes on from `working`."""
    phantom = PhantomConfig(images=config.images, seed=config.seed, codes=CODES, balanced=True)
    drawn = load_manifest(DataConfig(source="phantom", phantom=phantom), working / "data", progress)
    split = make_split(drawn, SplitConfig(test_size=0.05, val_size=0.05, rare=()), config.seed)
    trained = working / "classifier"
    train_arm(
        task=ArmTask(arm="start", seed=0, train=split.train, validation=split.validation),
        config=config.classifier,
        pixels=config.pixels,
        out=trained,
        cache=working / "cache",
        progress=progress,
    )
    whole = load_file(trained / "model" / WEIGHTS)
    kept = {name: _half(value) for name, value in whole.items() if not name.startswith(_HEAD)}
    out.mkdir(parents=True, exist_ok=True)
    save_file(kept, out / WEIGHTS, {"format": "pt"})
    record = ArmRecord.read(trained)
    write_json(
        out / RECORD,
        {
            "trained_on": f"{len(split.train):,} phantoms of {', '.join(CODES)}",
            "config": to_dict(config),
            "seconds": record.seconds,
            "validation_balanced_accuracy": round(record.validation_balanced_accuracy, 4),
            "sha256": file_sha256(out / WEIGHTS),
        },
    )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the start, print its folder, and return the exit code."""
    parser = argparse.ArgumentParser(prog="classify.pretrain", description="Train the embedded start of classifiers.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="its folder (default: the embedded one)")
    parser.add_argument("--working", type=Path, help="folder of phantoms and checkpoints (default: a temporary one)")
    parser.add_argument("--images", type=int, default=StartConfig().images, help="phantoms to train on")
    parser.add_argument("--steps", type=int, default=StartConfig().classifier.steps, help="optimiser steps")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _made(parsed))


def _made(parsed: argparse.Namespace) -> int:
    steps = to_dict(StartConfig().classifier) | {"steps": parsed.steps, "validate_every": max(1, parsed.steps // 6)}
    config = parse(StartConfig, {"images": parsed.images, "classifier": steps}, "start")
    with tempfile.TemporaryDirectory(prefix="lesionloom-start-") as temporary:
        print(pretrain(parsed.out, config, parsed.working or Path(temporary), _print))
    return 0


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def _print(done: int, total: int, note: str = "") -> None:
    if done % 100 == 0 or done == total:
        print(f"{done} of {total} {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
