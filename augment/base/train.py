"""Trains a tiny model: autoencoder first, then denoiser and text encoder on cached latents.

Used by `augment.base.pretrain` for the embedded base and by `augment.base.own_base` for a study's own. Each training
resumes from its checkpoint in the working folder.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from augment.base.autoencoder import AutoencoderConfig, centre_latents, moments, psnr, train_autoencoder
from augment.base.denoiser import DenoiserConfig, LatentDataset, train_denoiser
from augment.base.provenance import BaseRecord
from augment.device import cast, default_device
from augment.prompts import Attributes, PromptConfig, attributes_of, class_prompt, prompt_for
from augment.training.checkpoint import Checkpoint
from data.store import read_json, write_json
from data.training_state import load_state, save_state

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from data.manifest import Manifest
    from data.progress import Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """Images, and for each image, then for each mirror image, its prompt and how often it is sampled."""

    pixels: UInt8[np.ndarray, "n size size 3"]
    prompts: Sequence[str]  # 2 n
    weights: Float[Tensor, " twice_n"] | None = None  # None: all equally often


@dataclass(frozen=True, kw_only=True)
class TrainingStages:
    """The two trainings of a base."""

    autoencoder: AutoencoderConfig | None  # None: it is not trained
    denoiser: DenoiserConfig

    @property
    def autoencoder_steps(self) -> int:
        """Steps before the denoiser's training."""
        return self.autoencoder.steps if self.autoencoder else 0

    @property
    def steps(self) -> int:
        """Steps of both."""
        return self.autoencoder_steps + self.denoiser.steps

    def progress_of(self, stage: str, progress: Progress, done_before: int = 0) -> Progress:
        """Progress of one training, reported as progress of both; its name comes before the note."""
        return lambda done, _total, note="": progress(done_before + done, self.steps, f"{stage}, {note}")


def train_base(
    *,
    pipe: StableDiffusionPipeline,
    images: TrainingImages,
    stages: TrainingStages,
    folder: Path,
    seed: int,
    progress: Progress,
) -> None:
    """Train in place, with checkpoints in `folder`; `progress` counts the steps of both trainings.

    Raises TrainingError for a loss that is not finite.
    """
    pipe.vae.to(default_device())
    if stages.autoencoder is not None:
        shown = stages.progress_of("autoencoder", progress)
        _train_autoencoder(pipe, images.pixels, stages.autoencoder, folder, seed, shown)
    pipe.vae.eval()
    before = stages.autoencoder_steps
    mean, std = _latents(
        pipe,
        images.pixels,
        folder / "latents.pt",
        lambda done, total, _note="": progress(before, stages.steps, f"latents of {done} of {total} images"),
    )
    train_denoiser(
        pipe=pipe,
        data=LatentDataset(mean=mean, std=std, prompts=images.prompts, weights=images.weights),
        config=stages.denoiser,
        checkpoint=Checkpoint(folder / "denoiser.pt"),
        seed=seed,
        progress=stages.progress_of("denoiser", progress, before),
    )


def training_prompts(
    manifest: Manifest, config: PromptConfig, *, class_dropout: float, attribute_dropout: float, seed: int
) -> list[str]:
    """A prompt for each image, then one for each mirror image.

    A random share `class_dropout` of them names no diagnosis, a share `attribute_dropout` uses no column of the table.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = [*manifest.table["label"], *manifest.table["label"]]
    named = (torch.rand(len(labels), generator=generator) >= class_dropout).tolist()
    prompts = [
        prompt_for(label, config) if name else class_prompt(config) for label, name in zip(labels, named, strict=True)
    ]
    if not config.describes_images:
        return prompts
    attributes = 2 * attributes_of(manifest, config)
    kept = (torch.rand(len(labels), generator=generator) >= attribute_dropout).tolist()
    rows = zip(prompts, attributes, kept, strict=True)
    return [(known if keep else Attributes()).added_to(prompt) for prompt, known, keep in rows]


def class_weights(manifest: Manifest, balance: float) -> Float[Tensor, " twice_n"]:
    """Sampling weight of each image, then of each mirror image: its class's count to the power of -balance."""
    counts = manifest.counts()
    weights = torch.tensor([counts[label] ** -balance for label in manifest.table["label"]], dtype=torch.float64)
    return (weights / weights.sum()).repeat(2)


def save_base(
    pipe: StableDiffusionPipeline, pixels: UInt8[np.ndarray, "n size size 3"], record: BaseRecord, out: Path
) -> Path:
    """Write the diffusers folder in 16 bits and, last, training.json with the autoencoder's PSNR."""
    measured = {
        "autoencoder_psnr_db": round(float(np.mean(psnr(pipe.vae, pixels[:256]))), 2),
        "torch": torch.__version__,
    }
    save_pipeline(pipe, out)
    dataclasses.replace(record, details={**measured, **record.details}).write(out)
    return out


def save_pipeline(pipe: StableDiffusionPipeline, out: Path) -> None:
    """Write the diffusers folder of a pipeline in 16 bits, to which its networks are cast, without paths in it."""
    for part in (pipe.vae, pipe.unet, pipe.text_encoder):
        cast(part, torch.float16).to("cpu")
    for named in (pipe, pipe.vae, pipe.unet):
        named.register_to_config(_name_or_path="")  # else the configs name a folder of this machine
    pipe.save_pretrained(out)
    # transformers loads in the precision that the config names, diffusers in float32: a plain pipeline needs one
    config = out / "text_encoder" / "config.json"
    write_json(config, {**read_json(config), "dtype": "float32"})


def _train_autoencoder(
    pipe: StableDiffusionPipeline,
    pixels: UInt8[np.ndarray, "n size size 3"],
    config: AutoencoderConfig,
    folder: Path,
    seed: int,
    progress: Progress,
) -> None:
    centred = Checkpoint(folder / "autoencoder-centred.pt")
    if centred.restore({"vae": pipe.vae}):
        return
    checkpoint = Checkpoint(folder / "autoencoder.pt")
    train_autoencoder(vae=pipe.vae, images=pixels, config=config, checkpoint=checkpoint, seed=seed, progress=progress)
    centre_latents(pipe.vae, pixels[:4096])
    _log.info("autoencoder: %.1f dB on its own images", sum(psnr(pipe.vae, pixels[:256])) / len(pixels[:256]))
    centred.save(config.steps, {"vae": pipe.vae})


def _latents(
    pipe: StableDiffusionPipeline, pixels: UInt8[np.ndarray, "n size size 3"], path: Path, progress: Progress
) -> tuple[Float[Tensor, "twice_n channels h w"], Float[Tensor, "twice_n channels h w"]]:
    """Posterior mean and standard deviation of each image, then of each mirror image; kept in a file."""
    kept = load_state(path)
    if kept is not None:
        return kept["mean"], kept["std"]
    parts = []
    for start in range(0, len(pixels), 64):
        batch = pixels[start : start + 64]
        parts += [moments(pipe.vae, batch), moments(pipe.vae, batch[:, :, ::-1])]
        progress(start + len(batch), len(pixels))
    mean, std = (torch.cat([part[i] for part in parts[::2]] + [part[i] for part in parts[1::2]]) for i in (0, 1))
    save_state(path, {"mean": mean, "std": std})
    return mean, std
