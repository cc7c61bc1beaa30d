"""Makes compact bases: the embedded one, and a study's own on its train part.

    python -m augment.base.pretrain configs/tiny-base.yaml

makes the embedded base on drawn images of the four commonest classes: it has never seen the rare
ones, as Stable Diffusion has not. Each stage resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from diffusers import StableDiffusionPipeline
from pydantic.dataclasses import dataclass

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig, base_identity, load_base, seen_with
from augment.base.denoiser import DenoiserConfig
from augment.base.load import first_line
from augment.base.tiny_model import CompactConfig, build
from augment.base.train import (
    OwnBaseConfig,
    Progress,
    class_weights,
    ids_of,
    save_base,
    settings_of,
    train_base,
    training_prompts,
)
from augment.diffusion.sample import require_size
from augment.prompts import PromptConfig
from data.config import STRICT, Seed, load, to_dict
from data.errors import BaseError, ConfigError, exit_code
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """A base from scratch: on which images, of which size, for how long."""

    out: str = "runs/base"  # the finished diffusers folder
    work: str = "runs/pretrain"  # images, latents and checkpoints on the way
    seed: Seed = 0
    data: DataConfig = field(default_factory=DataConfig)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    sizes: CompactConfig = field(default_factory=CompactConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    unnamed: float = 0.1  # share of the images whose prompt names no diagnosis


def pretrain(config: PretrainConfig) -> Path:
    """Make the base and return its folder; 16-bit safetensors, with `training.json` saying what it has seen."""
    work = Path(config.work)
    manifest = load_manifest(config.data, work / "data")
    report = _Reporter()
    images = load_pixels(
        manifest, config.pixels, work / "cache", lambda done, total, note="": report("images", done, total)
    )
    pipe = build(config.sizes, config.seed)
    prompts = training_prompts(manifest, PromptConfig(), config.unnamed, 0.0, config.seed)
    train_base(pipe, images, prompts, config.autoencoder, config.denoiser, work, config.seed, report)
    drawn = config.data.source == "phantom"
    seen = {"groups": "drawn by a program, none of a study's"} if drawn else ids_of(manifest)
    about = {"config": to_dict(config), **seen}
    return save_base(pipe, manifest, images, Path(config.out), about)


def pretrain_own(
    base: BaseConfig,
    part: Manifest,
    pixels: PixelConfig,
    wording: PromptConfig,
    out: Path,
    seed: int,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train a study's own base on a part of its images and write it to `out`, a diffusers folder like any other.

    Its training.json names the leakage groups that it has seen, those of the base that it is continued
    from among them. An interrupted call is resumed from `out`. Raises ConfigError for sizes that cannot be.
    """
    own, start = base.own, base.start()
    if own is None:
        raise ValueError(f"the base {base.source} is not the study's own to train")
    pipe = _opened(own, start, pixels.size, seed)
    images = load_pixels(part, pixels, cache)
    prompts = training_prompts(part, wording, own.unnamed, own.plain, seed)
    weights = class_weights(part, own.balance) if own.balance else None
    work, told = out / "checkpoint", progress or (lambda *_: None)
    train_base(pipe, images, prompts, own.autoencoder, own.denoiser, work, seed, told, weights)
    about = {
        "config": settings_of(own),
        **seen_with(part, start),
        "start": base_identity(base)["start"],
        "pixels": to_dict(pixels),
        "prompts": to_dict(wording),
        "seed": seed,
    }
    save_base(pipe, part, images, out, about)
    shutil.rmtree(work)


def from_scratch(own: OwnBaseConfig, size: int, seed: int = 0) -> StableDiffusionPipeline:
    """A base of the configured sizes with random weights, for images of `size` pixels. Raises ConfigError."""
    try:
        return build(dataclasses.replace(own.sizes, image_size=size), seed)
    except Exception as fault:  # diffusers and transformers raise whatever sizes that cannot be make them stumble over
        raise ConfigError(
            f"base.pretrain.sizes: no model can be built of these ({first_line(fault)}); change them, "
            "or leave them out for the embedded base's"
        ) from fault


def _opened(own: OwnBaseConfig, start: BaseConfig | None, size: int, seed: int) -> StableDiffusionPipeline:
    """What the training begins with, set to draw images of `size` pixels."""
    if start is None:
        pipe = from_scratch(own, size, seed)
    else:
        pipe = load_base(start)
        if pipe.vae.config.scaling_factor != 1:
            raise BaseError(f"base.pretrain.start: {start.source} is no compact base; take it as base.source instead")
    require_size(pipe, size)
    pipe.unet.register_to_config(sample_size=size // pipe.vae_scale_factor)
    pipe.vae.register_to_config(sample_size=size)
    return pipe


class _Reporter:
    """Logs a line now and then: progress, loss (a moving average), and the time that is left."""

    def __init__(self) -> None:
        self._stage, self._said, self._loss = "", 0.0, 0.0
        self._begun = (0.0, 0)  # time, and what was done already

    def __call__(self, stage: str, done: int, total: int, loss: float = 0.0) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._said, self._loss, self._begun = stage, 0.0, 0.0, (now, done)
        self._loss = 0.98 * self._loss + 0.02 * loss if self._loss else loss
        if done == total or now - self._said > 20:  # noqa: PLR2004 - seconds
            self._said = now
            rate = (done - self._begun[1]) / max(now - self._begun[0], 1e-9)
            left = (total - done) / rate / 60 if rate else float("nan")
            _log.info("%s %d/%d  loss %.4f  %.1f/s  %.0f min left", stage, done, total, self._loss, rate, left)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m augment.base.pretrain", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    return exit_code(lambda: _made(arguments.config, arguments.overrides), "stopped; the same command again goes on")


def _made(config: Path, overrides: Sequence[str]) -> int:
    print(pretrain(load(PretrainConfig, config, overrides)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
