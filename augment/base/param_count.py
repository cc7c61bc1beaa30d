"""Parameter counts of a base's networks, from their configs alone: no weights are read or allocated.

A hub's base whose configs are not on this machine counts as the largest that fits, a Stable Diffusion 2.x. If the
configs of any other are broken, it is loaded, since loading reports what is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub import try_to_load_from_cache
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from augment.base.config import BaseConfig
from augment.base.load import build_own_base, load_base
from data.store import read_json


@dataclasses.dataclass(frozen=True)
class BaseParts:
    """A base's networks, usually on the meta device: shapes without numbers."""

    unet: nn.Module
    text_encoder: nn.Module
    vae: nn.Module

    def param_count(self, *names: str) -> int:
        """Parameters of these networks together."""
        return sum(p.numel() for name in names for p in getattr(self, name).parameters())

    def latent_size(self, size: int) -> int:
        """Numbers in the latents of an image of `size` pixels."""
        config = cast("Any", self.vae).config
        factor = 2 ** (len(config.block_out_channels) - 1)
        return int(config.latent_channels * (size // factor) ** 2)


def base_parts(base: BaseConfig, size: int) -> BaseParts:
    """The base's networks; of a study's own that is not trained yet, those that it will have.

    Raises BaseError for a base that cannot be loaded, ConfigError for model sizes that cannot be built.
    """
    if base.own is not None and base.parent is None:
        return _parts(build_own_base(base.own, size))
    base = base.parent or base
    try:
        return BaseParts(*(_from_config(make, base) for make in (_unet, _text_encoder, _vae)))
    except Exception:  # noqa: BLE001 - the libraries raise anything for broken configs; loading reports what is wrong
        return _parts(load_base(base))


def _parts(pipe: StableDiffusionPipeline) -> BaseParts:
    return BaseParts(pipe.unet, pipe.text_encoder, pipe.vae)


def _from_config(make: Callable[[BaseConfig | None], nn.Module], base: BaseConfig) -> nn.Module:
    try:
        return make(base)
    except Exception:
        if base.on_hub:  # not on this machine; if it is broken, loading it reports that
            return make(None)
        raise


def _unet(base: BaseConfig | None) -> nn.Module:
    """Without a base: diffusers' defaults, which are the sizes of Stable Diffusion."""
    with torch.device("meta"):
        unet: nn.Module = UNet2DConditionModel.from_config(_config(base, "unet")) if base else UNet2DConditionModel()
    return unet


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
            vae: nn.Module = AutoencoderKL.from_config(_config(base, "vae"))
            return vae
        channels = (128, 256, 512, 512)
        down, up = ("DownEncoderBlock2D",) * len(channels), ("UpDecoderBlock2D",) * len(channels)
        largest: nn.Module = AutoencoderKL(
            down_block_types=down, up_block_types=up, block_out_channels=channels, layers_per_block=2
        )
    return largest


def _config(base: BaseConfig, part: str) -> dict[str, Any]:
    """The config of a network: beside the weights, or in `base.config` for a single file. Nothing is downloaded."""
    folder = Path(base.config) if base.config and base.source != "tiny" else base.folder
    path: Any = folder / part / "config.json"
    if not folder.is_dir():
        path = try_to_load_from_cache(base.config or base.source, f"{part}/config.json", revision=base.revision)
    return dict(read_json(Path(path)))
