"""Distilled parts made by others, which a config names: a LoRA for few steps, and a small decoder (TAESD).

Both are files on disk; nothing is downloaded. Their training data is unknown, so the images' provenance is incomplete.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from diffusers import AutoencoderTiny
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError, safe_open

from augment.diffusion.presets import FewStepKind
from augment.methods.weights import with_parts
from data.config import STRICT
from data.errors import BaseError
from data.store import digest, file_sha256

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

_DECODER = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FewStepConfig:
    """A LoRA of the base that was distilled for few steps, such as LCM's or Hyper-SD's."""

    lora: str  # .safetensors file, for the base that the study has
    kind: FewStepKind = "lcm"  # lcm, tcd (Hyper-SD's unified one too), or hyper-sd (those for a set number of steps)
    scale: Annotated[float, Field(gt=0, le=2)] = 1.0

    def identity(self) -> dict[str, Any]:
        """The LoRA's SHA-256 and settings, as plain JSON. Raises BaseError."""
        return {"sha256": file_sha256(_lora_file(self.lora)), "kind": self.kind, "scale": self.scale}


def taesd_identity(folder: str) -> str:
    """Digest of a small decoder's files. Raises BaseError."""
    return digest([file_sha256(path) for path in _decoder_files(folder)])


def with_few_step_lora(pipe: StableDiffusionPipeline, few_step: FewStepConfig) -> StableDiffusionPipeline:
    """A float32 pipeline with the LoRA merged into the UNet. Raises BaseError for one that does not fit."""
    path = _lora_file(few_step.lora)
    _require_finite(path)
    merged = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    try:
        merged.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        merged.fuse_lora(lora_scale=few_step.scale)
        merged.unload_lora_weights()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as fault:
        raise BaseError(
            f"{path}: does not fit this base ({_first_line(fault)}); generate.few_step.lora must be made for it"
        ) from fault
    before, after = pipe.unet.state_dict(), merged.unet.state_dict()
    if all(torch.equal(before[name], weight) for name, weight in after.items()):
        raise BaseError(
            f"{path}: changes nothing in this base's UNet; generate.few_step.lora must be made for this base"
        )
    return merged


def with_taesd(pipe: StableDiffusionPipeline, folder: str) -> StableDiffusionPipeline:
    """A pipeline that decodes with a small decoder (TAESD). Raises BaseError for one of other latents."""
    path = _decoder_files(folder)[0].parent
    try:
        decoder = AutoencoderTiny.from_pretrained(path, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as fault:
        raise BaseError(
            f"{path}: cannot be read ({_first_line(fault)}); generate.taesd is the folder of an AutoencoderTiny"
        ) from fault
    channels, needed_channels = decoder.config.latent_channels, pipe.vae.config.latent_channels
    if channels != needed_channels:
        raise BaseError(
            f"{path}: decodes latents of {channels} channels, but this base has {needed_channels}; "
            "leave out generate.taesd"
        )
    factor = 2 ** (len(decoder.config.decoder_block_out_channels) - 1)
    if factor != pipe.vae_scale_factor:
        raise BaseError(
            f"{path}: enlarges latents {factor} times, but this base needs {pipe.vae_scale_factor}; "
            "leave out generate.taesd"
        )
    return with_parts(pipe, vae=decoder.requires_grad_(requires_grad=False).eval())


def _lora_file(name: str) -> Path:
    path = _path(name)
    if not path.is_file():
        raise BaseError(f"{path}: no such file; generate.few_step.lora names the LoRA's .safetensors file")
    if path.suffix != ".safetensors":
        raise BaseError(f"{path}: is no .safetensors file, and a pickle could run code; take the same LoRA as one")
    return path


def _decoder_files(folder: str) -> list[Path]:
    files = [_path(folder) / "config.json", _path(folder) / _DECODER]
    for path in files:
        if not path.is_file():
            raise BaseError(f"{path}: no such file; generate.taesd is the folder of an AutoencoderTiny with {_DECODER}")
    return files


def _path(name: str) -> Path:
    return Path(os.path.expandvars(name)).expanduser()


def _require_finite(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            not_finite = [key for key in file.keys() if not torch.isfinite(file.get_tensor(key)).all()]  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as fault:
        raise BaseError(f"{path}: cannot be read as safetensors; fetch it anew") from fault
    if not_finite:
        raise BaseError(f"{path}: {not_finite[0]} holds numbers that are not finite; fetch it anew")


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
