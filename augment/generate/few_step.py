"""Parts that others distilled for speed, which the user names: an update for few steps, and a small decoder.

Both are files on disk; nothing is fetched. What they were trained on is not known, and the lineage says so.
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

from augment.diffusion.samplers import Distilled
from augment.methods.weights import with_parts
from data.config import STRICT
from data.errors import BaseError
from data.store import digest, file_sha256

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

_DECODER = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DraftConfig:
    """An update (LoRA) of the base that was distilled for few steps, such as LCM's or Hyper-SD's."""

    lora: str  # .safetensors file, for the base that the study has
    kind: Distilled = "lcm"  # lcm, tcd (Hyper-SD's unified one too), or hyper-sd (those for a set number of steps)
    scale: Annotated[float, Field(gt=0, le=2)] = 1.0

    def identity(self) -> dict[str, Any]:
        """What tells one update from another, as plain JSON. Raises BaseError."""
        return {"sha256": file_sha256(_file(self.lora)), "kind": self.kind, "scale": self.scale}


def decoder_identity(folder: str) -> str:
    """What tells one small decoder from another. Raises BaseError."""
    return digest([file_sha256(path) for path in _decoder_files(folder)])


def with_update(pipe: StableDiffusionPipeline, draft: DraftConfig) -> StableDiffusionPipeline:
    """A float32 pipeline with the update in the UNet's weights. Raises BaseError for one that does not fit."""
    path = _file(draft.lora)
    _require_finite(path)
    drafted = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    try:
        drafted.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        drafted.fuse_lora(lora_scale=draft.scale)
        drafted.unload_lora_weights()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as fault:
        line = " ".join(str(fault).split())[:200]
        raise BaseError(f"{path}: does not fit this base ({line}); generate.draft.lora must be made for it") from fault
    before, after = pipe.unet.state_dict(), drafted.unet.state_dict()
    if all(torch.equal(before[name], weight) for name, weight in after.items()):
        raise BaseError(f"{path}: changes nothing in this base's UNet; generate.draft.lora must be made for this base")
    return drafted


def with_decoder(pipe: StableDiffusionPipeline, folder: str) -> StableDiffusionPipeline:
    """A pipeline that decodes with a small decoder (TAESD). Raises BaseError for one of other latents."""
    place = _decoder_files(folder)[0].parent
    try:
        decoder = AutoencoderTiny.from_pretrained(place, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as fault:
        line = " ".join(str(fault).split())[:200]
        raise BaseError(
            f"{place}: cannot be read ({line}); generate.taesd is the folder of an AutoencoderTiny"
        ) from fault
    has, needs = decoder.config.latent_channels, pipe.unet.config.in_channels
    if has != needs:
        raise BaseError(
            f"{place}: decodes latents of {has} channels, but this base has {needs}; leave out generate.taesd"
        )
    factor = 2 ** (len(decoder.config.decoder_block_out_channels) - 1)
    if factor != pipe.vae_scale_factor:
        raise BaseError(
            f"{place}: enlarges latents {factor} times, but this base needs {pipe.vae_scale_factor}; "
            "leave out generate.taesd"
        )
    return with_parts(pipe, vae=decoder.requires_grad_(requires_grad=False).eval())


def _file(written: str) -> Path:
    path = _path(written)
    if not path.is_file():
        raise BaseError(f"{path}: no such file; generate.draft.lora names the update's .safetensors file")
    if path.suffix != ".safetensors":
        raise BaseError(f"{path}: is no .safetensors file, and a pickle could run code; take the same update as one")
    return path


def _decoder_files(written: str) -> list[Path]:
    folder = _path(written)
    files = [folder / "config.json", folder / _DECODER]
    for path in files:
        if not path.is_file():
            raise BaseError(f"{path}: no such file; generate.taesd is the folder of an AutoencoderTiny with {_DECODER}")
    return files


def _path(written: str) -> Path:
    return Path(os.path.expandvars(written)).expanduser()


def _require_finite(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            spoilt = [key for key in file.keys() if not torch.isfinite(file.get_tensor(key)).all()]  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as fault:
        raise BaseError(f"{path}: cannot be read as safetensors; fetch it anew") from fault
    if spoilt:
        raise BaseError(f"{path}: {spoilt[0]} holds numbers that are not finite; fetch it anew")
