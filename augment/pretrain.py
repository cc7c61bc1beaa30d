"""Trains a compact base from scratch: autoencoder, then denoiser and text encoder.

    python -m augment.pretrain configs/tiny-base.yaml

makes the embedded base on drawn images of the four commonest classes: it has never seen the rare
ones, as Stable Diffusion has not. Each stage resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass

from augment.autoencoder import AutoencoderConfig, centre_latents, moments, psnr, train_autoencoder
from augment.checkpoint import Checkpoint
from augment.compact import CompactConfig, build
from augment.denoiser import DenoiserConfig, train_denoiser
from augment.prompts import class_prompt, prompt_for
from data.config import STRICT, load, to_dict
from data.errors import InputError
from data.pixels import PixelConfig, load_pixels
from data.sources import DataConfig, load_manifest
from data.store import write_json

if TYPE_CHECKING:
    import numpy as np
    from diffusers import StableDiffusionPipeline

    from data.manifest import Manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """A base from scratch: on which images, of which size, for how long."""

    out: str = "runs/base"  # the finished diffusers folder
    work: str = "runs/pretrain"  # images, latents and checkpoints on the way
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    sizes: CompactConfig = field(default_factory=CompactConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    unnamed: float = 0.1  # share of the images whose prompt names no diagnosis


def pretrain(config: PretrainConfig) -> Path:
    """Make the base and return its folder; 16-bit safetensors, with `training.json` saying what it has seen."""
    work, started = Path(config.work), time.monotonic()
    manifest = load_manifest(config.data, work / "data")
    images = load_pixels(manifest, config.pixels, work / "cache", _reporter("images"))
    pipe = build(config.sizes, config.seed)
    _make_autoencoder(pipe, images, config, work)
    pipe.vae.eval()
    mean, std = _latents(pipe, images, work / "latents.pt")
    prompts = _prompts(manifest, config)
    checkpoint = Checkpoint(work / "denoiser.pt")
    train_denoiser(pipe, mean, std, prompts, config.denoiser, checkpoint, config.seed, _reporter("denoiser"))
    return _save(pipe, manifest, config, time.monotonic() - started, images)


def _make_autoencoder(pipe: StableDiffusionPipeline, images: np.ndarray, config: PretrainConfig, work: Path) -> None:
    centred = Checkpoint(work / "autoencoder-centred.pt")
    if centred.restore({"vae": pipe.vae}):
        return
    checkpoint = Checkpoint(work / "autoencoder.pt")
    train_autoencoder(pipe.vae, images, config.autoencoder, checkpoint, config.seed, _reporter("autoencoder"))
    centre_latents(pipe.vae, images[:4096])
    _log.info("autoencoder: %.1f dB on its own images", sum(psnr(pipe.vae, images[:256])) / 256)
    centred.save(config.autoencoder.steps, {"vae": pipe.vae})


def _latents(pipe: StableDiffusionPipeline, images: np.ndarray, path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior of every image and of its mirror image."""
    if path.is_file():
        mean, std = torch.load(path, weights_only=True)
        return mean, std
    parts, report = [], _reporter("latents")
    for start in range(0, len(images), 64):
        batch = images[start : start + 64]
        parts += [moments(pipe.vae, batch), moments(pipe.vae, batch[:, :, ::-1])]
        report(start + len(batch), len(images), 0.0)
    mean, std = (torch.cat([part[i] for part in parts[::2]] + [part[i] for part in parts[1::2]]) for i in (0, 1))
    torch.save((mean, std), path)
    return mean, std


def _prompts(manifest: Manifest, config: PretrainConfig) -> list[str]:
    generator = torch.Generator().manual_seed(config.seed)
    labels = [*manifest.table["label"], *manifest.table["label"]]
    unnamed = (torch.rand(len(labels), generator=generator) < config.unnamed).tolist()
    return [class_prompt() if no_name else prompt_for(label) for label, no_name in zip(labels, unnamed, strict=True)]


def _save(
    pipe: StableDiffusionPipeline, manifest: Manifest, config: PretrainConfig, seconds: float, images: np.ndarray
) -> Path:
    out = Path(config.out)
    record = {
        "config": to_dict(config),
        "images": len(manifest),
        "by_class": manifest.counts(),
        "groups": "drawn by a program, none of a study's"
        if config.data.source == "phantom"
        else sorted(set(manifest.table["group_id"])),
        "autoencoder_psnr_db": round(sum(psnr(pipe.vae, images[:256])) / 256, 2),
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    pipe.to(torch.float16).save_pretrained(out)
    write_json(out / "training.json", record)
    return out


def _reporter(stage: str) -> Callable[..., None]:
    """Log a line now and then: progress, loss (a moving average), and the time that is left."""
    begun: list[float] = []
    state = {"said": 0.0, "loss": 0.0}

    def report(done: int, total: int, loss: float = 0.0) -> None:
        now = time.monotonic()
        if not begun:
            begun.extend([now, done])
        state["loss"] = 0.98 * state["loss"] + 0.02 * loss if state["loss"] else loss
        if done == total or now - state["said"] > 20:  # noqa: PLR2004 - seconds
            state["said"] = now
            rate = (done - begun[1]) / max(now - begun[0], 1e-9)
            left = (total - done) / rate / 60 if rate else float("nan")
            _log.info("%s %d/%d  loss %.4f  %.1f/s  %.0f min left", stage, done, total, state["loss"], rate, left)

    return report


def main() -> int:
    """Run from the command line; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m augment.pretrain", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        print(pretrain(load(PretrainConfig, arguments.config, arguments.overrides)))
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
