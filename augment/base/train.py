"""How a compact base is trained, from random weights or from another's: autoencoder, then denoiser and text encoder.

`augment.base.pretrain` makes the embedded base by it, and a study a base of its own on its train part. Each
stage resumes where it was stopped, from the checkpoints in its working folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from augment.base.autoencoder import AutoencoderConfig, centre_latents, moments, psnr, train_autoencoder
from augment.base.denoiser import DenoiserConfig, train_denoiser
from augment.base.tiny_model import CompactConfig
from augment.checkpoint import Checkpoint
from augment.device import cast
from augment.prompts import Attributes, PromptConfig, attributes_of, class_prompt, prompt_for
from data.config import STRICT, to_dict
from data.splits.provenance import SeenIds
from data.store import read_json, write_json

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from data.manifest import Manifest

TRAINING = "training.json"  # what a base has seen, in its folder
_log = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]
Progress = Callable[[str, int, int, float], None]  # stage, done, of how many, loss


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OwnBaseConfig:
    """A base of the study's own, trained on its train part: from which weights, on which classes, for how long."""

    start: str = "tiny"  # continued from `tiny` or the folder of another compact base; or from `scratch`
    classes: tuple[str, ...] = ()  # whose images of the train part it sees; () = all but the rare ones
    sizes: CompactConfig = CompactConfig()  # from scratch alone: a continued base keeps its own
    autoencoder: AutoencoderConfig | None = None  # None: kept as it is; from scratch it has to be trained
    denoiser: DenoiserConfig = DenoiserConfig(steps=2000, learning_rate=4e-4)
    unnamed: Share = 0.1  # share of the images whose prompt names no diagnosis
    plain: Share = 0.2  # share whose prompt tells nothing but the diagnosis
    balance: Share = 0.5  # 0: classes as often as in the table, 1: each as often as the others

    def __post_init__(self) -> None:
        """Refuse settings that nobody would read, and a start that cannot be."""
        if self.start == "pretrain":
            raise ValueError("start: pretrain is no base yet; give `tiny`, `scratch` or a base's folder")
        if self.start == "scratch" and self.autoencoder is None:
            raise ValueError(
                "start: scratch has no autoencoder to keep; give `autoencoder` its settings, or {} for the usual"
            )
        if self.start != "scratch" and self.sizes != CompactConfig():
            raise ValueError(f"`sizes` are those of {self.start} already; take them out, or set start: scratch")


def settings_of(own: OwnBaseConfig) -> dict[str, Any]:
    """The settings that a base is trained by, as plain JSON; sizes only where it begins from scratch."""
    plain = to_dict(own)
    if own.start != "scratch":
        del plain["sizes"]
    return plain


def train_base(
    pipe: StableDiffusionPipeline,
    images: UInt8[np.ndarray, "n size size 3"],
    prompts: Sequence[str],
    autoencoder: AutoencoderConfig | None,
    denoiser: DenoiserConfig,
    folder: Path,
    seed: int,
    progress: Progress,
    weights: Float[Tensor, " twice_n"] | None = None,
) -> None:
    """Train in place, with checkpoints in `folder`; no autoencoder config: it is kept as it is.

    `prompts` go with the images and then with their mirror images, as `training_prompts` gives them, and
    so do `weights`, how often each is drawn; None: all alike. Raises TrainingError.
    """
    if autoencoder is not None:
        _train_autoencoder(pipe, images, autoencoder, folder, seed, progress)
    pipe.vae.eval()
    mean, std = _latents(pipe, images, folder / "latents.pt", progress)
    checkpoint = Checkpoint(folder / "denoiser.pt")
    report = _of("denoiser", progress)
    train_denoiser(pipe, mean, std, prompts, denoiser, checkpoint, seed, report, weights)


def training_prompts(manifest: Manifest, wording: PromptConfig, unnamed: float, plain: float, seed: int) -> list[str]:
    """A prompt an image and another for its mirror image, drawn by the seed.

    The share `unnamed` of them names no diagnosis, the share `plain` tells nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = [*manifest.table["label"], *manifest.table["label"]]
    named = (torch.rand(len(labels), generator=generator) >= unnamed).tolist()
    prompts = [
        prompt_for(label, wording) if name else class_prompt(wording) for label, name in zip(labels, named, strict=True)
    ]
    if not wording.tells_columns:
        return prompts
    known = 2 * attributes_of(manifest, wording)
    told = (torch.rand(len(labels), generator=generator) >= plain).tolist()
    drawn = zip(prompts, known, told, strict=True)
    return [(each if tell else Attributes()).added_to(prompt) for prompt, each, tell in drawn]


def class_weights(manifest: Manifest, balance: float) -> Float[Tensor, " twice_n"]:
    """How often each image, then each mirror image, is drawn: by its class's count to the power of -balance."""
    counts = manifest.counts()
    weights = torch.tensor([counts[label] ** -balance for label in manifest.table["label"]], dtype=torch.float64)
    return (weights / weights.sum()).repeat(2)


def save_base(
    pipe: StableDiffusionPipeline,
    manifest: Manifest,
    images: UInt8[np.ndarray, "n size size 3"],
    out: Path,
    about: Mapping[str, object],
) -> Path:
    """Write the diffusers folder in 16 bits and, last, training.json: what it has seen, and whatever else is told."""
    record = {
        "images": len(manifest),
        "by_class": manifest.counts(),
        "autoencoder_psnr_db": round(float(np.mean(psnr(pipe.vae, images[:256]))), 2),
        "torch": torch.__version__,
        **about,
    }
    for part in (pipe.vae, pipe.unet, pipe.text_encoder):
        cast(part, torch.float16).to("cpu")
    for named in (pipe, pipe.vae, pipe.unet):
        named.register_to_config(_name_or_path="")  # it would name the place on this machine that it came from
    pipe.save_pretrained(out)
    # transformers loads in the precision that is named here, diffusers in 32 bits: a plain pipeline has to be of one.
    told = out / "text_encoder" / "config.json"
    write_json(told, {**read_json(told), "dtype": "float32"})
    write_json(out / TRAINING, record)
    return out


def ids_of(manifest: Manifest) -> dict[str, list[str]]:
    """Leakage groups, images, lesions and patients of a manifest, as a base's record tells what it has seen."""
    ids = SeenIds.of(manifest).record()
    return {"groups": ids.pop("group_ids"), **ids}


def _train_autoencoder(
    pipe: StableDiffusionPipeline,
    images: UInt8[np.ndarray, "n size size 3"],
    config: AutoencoderConfig,
    folder: Path,
    seed: int,
    progress: Progress,
) -> None:
    centred = Checkpoint(folder / "autoencoder-centred.pt")
    if centred.restore({"vae": pipe.vae}):
        return
    checkpoint = Checkpoint(folder / "autoencoder.pt")
    train_autoencoder(pipe.vae, images, config, checkpoint, seed, _of("autoencoder", progress))
    centre_latents(pipe.vae, images[:4096])
    _log.info("autoencoder: %.1f dB on its own images", sum(psnr(pipe.vae, images[:256])) / len(images[:256]))
    centred.save(config.steps, {"vae": pipe.vae})


def _latents(
    pipe: StableDiffusionPipeline, images: UInt8[np.ndarray, "n size size 3"], path: Path, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Posterior of every image and of its mirror image."""
    if path.is_file():
        mean, std = torch.load(path, weights_only=True)
        return mean, std
    parts = []
    for start in range(0, len(images), 64):
        batch = images[start : start + 64]
        parts += [moments(pipe.vae, batch), moments(pipe.vae, batch[:, :, ::-1])]
        progress("latents", start + len(batch), len(images), 0.0)
    mean, std = (torch.cat([part[i] for part in parts[::2]] + [part[i] for part in parts[1::2]]) for i in (0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save((mean, std), temporary)
    temporary.replace(path)
    return mean, std


def _of(stage: str, progress: Progress) -> Callable[[int, int, float], None]:
    return lambda done, total, loss: progress(stage, done, total, loss)
