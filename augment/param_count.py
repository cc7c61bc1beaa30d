"""How many numbers a base's parts and a fine-tuned class hold, from configs alone: no weights are read, none filled in.

A hub's base whose configs are not on this machine counts as the largest that fits, a Stable Diffusion 2.x. What is
wrong with any other is said as loading it says it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub import try_to_load_from_cache
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from augment.base.config import TINY, BaseConfig, load_base, on_hub
from augment.base.pretrain import from_scratch
from augment.finetune.config import FinetuneConfig
from augment.methods.lora import Lora
from data.store import read_json


@dataclasses.dataclass(frozen=True)
class Parts:
    """A base's networks as shapes; what they hold is not there."""

    unet: nn.Module
    text_encoder: nn.Module
    vae: nn.Module

    def numbers(self, *names: str) -> int:
        """How many weights these parts have."""
        return sum(p.numel() for name in names for p in getattr(self, name).parameters())

    def latent(self, size: int) -> int:
        """How many numbers the latents of an image of `size` pixels have."""
        config = cast("Any", self.vae).config
        factor = 2 ** (len(config.block_out_channels) - 1)
        return int(config.latent_channels * (size // factor) ** 2)


def parts_of(base: BaseConfig, size: int) -> Parts:
    """The base's networks, or of a study's own those that it will have.

    Raises BaseError for a base that cannot be loaded, ConfigError for sizes of which none can be built.
    """
    start = base.start()
    if base.own is not None and start is None:
        return _of(from_scratch(base.own, size))
    base = start or base
    hub = on_hub(base.source)
    try:
        return Parts(*(_opened(make, base, hub=hub) for make in (_unet, _text_encoder, _vae)))
    except Exception:  # noqa: BLE001 - configs make the libraries raise anything; loading tells what is wrong with them
        return _of(load_base(base))


def learned(parts: Parts, config: FinetuneConfig) -> int:
    """How many numbers one class learns."""
    names = ("unet", "text_encoder") if config.text_encoder else ("unet",)
    if config.method == "dreambooth":
        return parts.numbers(*names)
    lora = Lora(rank=config.rank, conv=config.conv, text_encoder=config.text_encoder)
    shapes = [shape for name in names for shape in lora.shapes(name, lora.layers(parts, name)).values()]
    return sum(math.prod(shape) for shape in shapes)


def _of(pipe: StableDiffusionPipeline) -> Parts:
    return Parts(pipe.unet, pipe.text_encoder, pipe.vae)


def _opened(make: Callable[[BaseConfig | None], nn.Module], base: BaseConfig, *, hub: bool) -> nn.Module:
    try:
        return make(base)
    except Exception:
        if hub:  # not on this machine; if it is broken, that is said when it is loaded
            return make(None)
        raise


def _unet(base: BaseConfig | None) -> nn.Module:
    """Of no base: diffusers' defaults, which are Stable Diffusion's sizes."""
    with torch.device("meta"):
        found: nn.Module = UNet2DConditionModel.from_config(_config(base, "unet")) if base else UNet2DConditionModel()
    return found


def _text_encoder(base: BaseConfig | None) -> nn.Module:
    if base is None:
        config = CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16)
    else:
        config = CLIPTextConfig.from_dict(_config(base, "text_encoder"))
    with torch.device("meta"):
        return CLIPTextModel(config)


def _vae(base: BaseConfig | None) -> nn.Module:
    with torch.device("meta"):
        if base is not None:
            found: nn.Module = AutoencoderKL.from_config(_config(base, "vae"))
            return found
        levels = (128, 256, 512, 512)
        down, up = ("DownEncoderBlock2D",) * len(levels), ("UpDecoderBlock2D",) * len(levels)
        largest: nn.Module = AutoencoderKL(
            down_block_types=down, up_block_types=up, block_out_channels=levels, layers_per_block=2
        )
    return largest


def _config(base: BaseConfig, part: str) -> dict[str, Any]:
    """A part's config, beside the weights or where a single file's were named. Nothing is fetched."""
    folder = TINY if base.source == "tiny" else Path(base.config or base.source)
    path: Any = folder / part / "config.json"
    if not folder.is_dir():
        path = try_to_load_from_cache(base.config or base.source, f"{part}/config.json", revision=base.revision)
    return dict(read_json(Path(path)))
