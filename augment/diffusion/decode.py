"""From latents to pixels, as many images at a time as the device's memory holds."""

from __future__ import annotations

import logging

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from torch import Tensor

from augment.device import cast
from data.errors import BaseError, ConfigError, InputError
from data.oom import with_oom_backoff

_log = logging.getLogger(__name__)


def decode(
    pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"], chunk: int = 8
) -> UInt8[np.ndarray, "n H W 3"]:
    """Pixels, decoded `chunk` images at a time or fewer, as `decode_with_backoff` does."""
    return decode_with_backoff(pipe, latents, chunk)[0]


@torch.inference_mode()
def decode_with_backoff(
    pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"], chunk: int
) -> tuple[UInt8[np.ndarray, "n H W 3"], int]:
    """Pixels, and how many images at a time were decoded: `chunk`, or fewer if those do not fit the device's memory.

    Raises InputError for latents or pixels that are not finite, torch.OutOfMemoryError if a single image does not fit.
    """
    if not torch.isfinite(latents).all():
        raise _not_finite("latents", pipe.unet.dtype)

    def work(part: slice) -> Tensor:
        image = _decode_finite(pipe, latents[part] / pipe.vae.config.scaling_factor)
        pixels = (image / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().cpu()

    parts, chunk = with_oom_backoff(work, len(latents), chunk)
    return torch.cat(parts).numpy(), chunk


def _decode_finite(pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
    """The VAE's images in -1..1; those that are not finite in 16 bits are decoded again in float32."""
    vae, dtype = pipe.vae, pipe.vae.dtype
    image: Tensor = vae.decode(latents.to(dtype), return_dict=False)[0].float()
    not_finite = ~torch.isfinite(image).flatten(1).all(dim=1)
    if not not_finite.any():
        return image
    if dtype != torch.float32:
        _log.warning("%d images are not finite, decoded in %s; decoding them in float32", int(not_finite.sum()), dtype)
        try:
            image[not_finite] = cast(vae, torch.float32).decode(latents[not_finite].float(), return_dict=False)[0]
        finally:
            cast(vae, dtype)
    if not torch.isfinite(image).all():
        raise _not_finite("pixels", pipe.unet.dtype)
    return image


def _not_finite(what: str, dtype: torch.dtype) -> InputError:
    if dtype != torch.float32:
        return ConfigError(f"{what} that are not finite, with a denoiser in {dtype}; set generate.precision: float32")
    return BaseError(
        f"{what} that are not finite, in float32 (generate.precision: float32) too: the weights are at fault; "
        "fine-tune again with a lower finetune.learning_rate, or take another base"
    )
