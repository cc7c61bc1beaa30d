"""Makes a tiny model from random weights, such as the embedded base.

    python -m augment.base.pretrain configs/tiny-base.yaml

makes the embedded base from phantoms of the four commonest classes: like Stable Diffusion, it was not trained
on the rare ones. An interrupted training is resumed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import Share
from augment.base.denoiser import DenoiserConfig
from augment.base.provenance import BaseRecord
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.base.train import TrainingImages, TrainingStages, save_base, train_base, training_prompts
from augment.prompts import PromptConfig
from data.config import STRICT, Seed, load, to_dict
from data.errors import exit_code
from data.pixels import PixelConfig, load_pixels
from data.progress import LogProgress, Progress
from data.sources.load import DataConfig, load_manifest
from data.splits.provenance import Provenance

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """A base from random weights: on which images, of which size, for how long."""

    out: str = "runs/base"  # the finished diffusers folder
    work: str = "runs/pretrain"  # images, latents and checkpoints during the training
    seed: Seed = 0
    data: DataConfig = field(default_factory=DataConfig)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    class_dropout: Share = 0.1  # share of the images whose prompt names no diagnosis


def pretrain(config: PretrainConfig) -> Path:
    """Make the base and return its folder: 16-bit safetensors, and training.json with what it was trained on."""
    work = Path(config.work)
    manifest = load_manifest(config.data, work / "data")
    pixels = load_pixels(manifest, config.pixels, work / "cache", _logged("images"))
    pipe = build_tiny_model(config.model, config.seed)
    prompts = training_prompts(
        manifest, PromptConfig(), class_dropout=config.class_dropout, attribute_dropout=0.0, seed=config.seed
    )
    train_base(
        pipe=pipe,
        images=TrainingImages(pixels=pixels, prompts=prompts),
        stages=TrainingStages(autoencoder=config.autoencoder, denoiser=config.denoiser),
        folder=work,
        seed=config.seed,
        progress=_logged("training"),
    )
    phantoms = config.data.source == "phantom"  # ids of phantoms name no image of any study
    record = BaseRecord(
        images=len(manifest),
        by_class=manifest.counts(),
        provenance=Provenance() if phantoms else Provenance.of(manifest),
        groups="drawn by a program, none of a study's" if phantoms else int(manifest.table["group_id"].nunique()),
        details={"config": to_dict(config)},
    )
    return save_base(pipe, pixels, record, Path(config.out))


def _logged(stage: str) -> Progress:
    return LogProgress(lambda line: _log.info("%s: %s", stage, line), every=20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m augment.base.pretrain", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    return exit_code(lambda: _run(parsed.config, parsed.overrides), "stopped; the same command again resumes it")


def _run(config: Path, overrides: Sequence[str]) -> int:
    print(pretrain(load(PretrainConfig, config, overrides)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
