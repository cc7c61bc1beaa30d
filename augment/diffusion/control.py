"""A ControlNet beside a UNet: a copy of its first half that reads a condition image. Zhang et al. 2023.

It is the UNet's own submodule `control`, so that it is copied, cast and moved with it. What it adds to the UNet's
skip connections and to its middle goes through convolutions that are zero at first.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor

from augment.device import cast

PREFIX = "unet.control."  # of the names of a pipeline's weights
_CHANNELS = (16, 32, 96, 256)  # of the condition image's encoder, which halves it at each after the first


def install_control(pipe: StableDiffusionPipeline) -> None:
    """Add a ControlNet, all of whose weights are zero, to a pipeline's UNet in place; it changes nothing."""
    control = cast(control_for(pipe.unet, pipe.vae_scale_factor), pipe.unet.dtype)
    control.to_empty(device=pipe.unet.device).requires_grad_(requires_grad=False).eval()
    for weight in control.parameters():
        weight.data.zero_()
    pipe.unet.control = control


def control_for(unet: Any, vae_scale_factor: int) -> ControlNetModel:  # noqa: ANN401 - a UNet, or its shapes
    """A ControlNet of a UNet's sizes on the meta device: shapes without numbers."""
    with torch.device("meta"):
        return ControlNetModel.from_unet(
            unet,
            load_weights_from_unet=False,
            conditioning_embedding_out_channels=embedding_channels(vae_scale_factor),
        )


def embedding_channels(vae_scale_factor: int) -> tuple[int, ...]:
    """Channels of the condition image's encoder, which makes it as small as the latents: (16, 32, 96) for 4."""
    halvings = int(math.log2(vae_scale_factor))
    return tuple(_CHANNELS[min(level, len(_CHANNELS) - 1)] for level in range(halvings + 1))


def control_residuals(
    unet: UNet2DConditionModel,
    sample: Float[Tensor, "n c h w"],
    timestep: Tensor,
    prompt_embeds: Float[Tensor, "n tokens width"],
    condition: Float[Tensor, "n 3 H W"] | None,
) -> dict[str, Any]:
    """What a UNet's forward pass adds, as its keywords; nothing without a condition image.

    Raises ValueError for a condition image where the UNet has no ControlNet.
    """
    if condition is None:
        return {}
    control = getattr(unet, "control", None)
    if control is None:
        raise ValueError("there is a condition image, but the UNet has no ControlNet; install one")
    inputs = (each.to(control.dtype) for each in (sample, prompt_embeds, condition))
    latents, embeds, image = inputs
    down, middle = control(latents, timestep, embeds, image, return_dict=False)
    return {
        "down_block_additional_residuals": tuple(each.to(sample.dtype) for each in down),
        "mid_block_additional_residual": middle.to(sample.dtype),
    }
