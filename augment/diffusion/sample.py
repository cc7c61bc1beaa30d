"""The fast sampler: few steps, prompts encoded once, one seed an image.

The batch shape never changes (the last batch is filled up), so an image depends on its own seed and, within
rounding, on the batch size and its place in a batch, not on how many images are drawn beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.device import cast
from augment.diffusion.samplers import Levels, solver_for
from data.config import STRICT
from data.errors import BaseError, ConfigError, InputError
from data.oom import in_chunks

log = logging.getLogger(__name__)

_TOGETHER = 8  # images up to which an accelerator is faster with one call for both, with and without the prompt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplerConfig:
    """How latents are denoised. Guidance of 2 to 3 makes better training data than the usual 7.5."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 20  # denoiser calls an image, without guidance's
    guidance: Annotated[float, Field(ge=1, le=50)] = 2.0  # 1 = none
    guidance_until: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the steps, from the first, with guidance
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32  # images


@torch.inference_mode()
def encode(pipe: StableDiffusionPipeline, prompt: str) -> Float[Tensor, "1 tokens width"]:
    """What the denoiser is told of one prompt."""
    embedding: Tensor = pipe.encode_prompt(prompt, pipe.device, 1, do_classifier_free_guidance=False)[0]
    return embedding


def encode_all(pipe: StableDiffusionPipeline, prompts: Sequence[str]) -> Float[Tensor, "n tokens width"]:
    """The same of many, one after another: a prompt's bits do not depend on its neighbours."""
    return torch.cat([encode(pipe, prompt) for prompt in prompts])


@torch.inference_mode()
def sample_latents(
    pipe: StableDiffusionPipeline,
    prompt_embeds: Float[Tensor, "1 tokens width"],
    negative_embeds: Float[Tensor, "1 tokens width"],
    seeds: Sequence[int],
    config: SamplerConfig,
    size: int | None = None,
) -> Float[Tensor, "n c h w"]:
    """One latent a seed, in order, as the VAE's decoder takes them times its scaling factor.

    `size` is in pixels; None means the base's own.
    """
    batches = sample_batches(pipe, prompt_embeds, negative_embeds, seeds, config, size)
    return torch.cat(list(batches))


def sample_batches(
    pipe: StableDiffusionPipeline,
    prompt_embeds: Float[Tensor, "prompts tokens width"],
    negative_embeds: Float[Tensor, "1 tokens width"],
    seeds: Sequence[int],
    config: SamplerConfig,
    size: int | None = None,
    told: Sequence[int] | None = None,
    levels: Levels = "quality",
) -> Iterator[Float[Tensor, "n c h w"]]:
    """The same, a batch at a time, so that images can be written while the next ones are drawn.

    `prompt_embeds[told[i]]` goes with `seeds[i]`; None: the first of them with all.
    """
    n = config.batch_size
    embedded, untold = (each.to(pipe.unet.dtype) for each in (prompt_embeds, negative_embeds))
    for start in range(0, len(seeds), n):
        chunk = list(seeds[start : start + n])
        generators = [torch.Generator().manual_seed(seed) for seed in chunk + chunk[-1:] * (n - len(chunk))]
        noise = _noise(pipe, generators, size)
        with torch.inference_mode():
            conditional = _conditional(embedded, None if told is None else told[start : start + n], n)
            negative = untold.expand(n, -1, -1).contiguous()
            latents = _denoise(pipe, conditional, negative, noise, config, levels, generators)
        yield latents[: len(chunk)]


@torch.inference_mode()
def decode(
    pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"], chunk: int = 8
) -> UInt8[np.ndarray, "n H W 3"]:
    """Pixels, decoded `chunk` images at a time or fewer, as `decode_as_fits` does."""
    return decode_as_fits(pipe, latents, chunk)[0]


@torch.inference_mode()
def decode_as_fits(
    pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"], chunk: int
) -> tuple[UInt8[np.ndarray, "n H W 3"], int]:
    """Pixels, and how many images at a time could be decoded: where `chunk` are too many for the device, fewer.

    Raises InputError for latents or pixels that are not finite, torch.OutOfMemoryError where not even one image fits.
    """
    if not torch.isfinite(latents).all():
        raise _not_finite("latents", pipe.unet.dtype)

    def decoded(part: slice) -> Tensor:
        image = _decoded(pipe, latents[part] / pipe.vae.config.scaling_factor)
        bytes_ = (image / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return bytes_.permute(0, 2, 3, 1).contiguous().cpu()

    parts, chunk = in_chunks(decoded, len(latents), chunk)
    return torch.cat(parts).numpy(), chunk


def _decoded(pipe: StableDiffusionPipeline, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
    """What the VAE makes of latents; images that do not come out finite in 16 bits are decoded again in 32."""
    vae, dtype = pipe.vae, pipe.vae.dtype
    image: Tensor = vae.decode(latents.to(dtype), return_dict=False)[0].float()
    spoilt = ~torch.isfinite(image).flatten(1).all(dim=1)
    if not spoilt.any():
        return image
    if dtype != torch.float32:
        log.warning("%d images are not finite, decoded in %s; decoding them in float32", int(spoilt.sum()), dtype)
        try:
            image[spoilt] = cast(vae, torch.float32).decode(latents[spoilt].float(), return_dict=False)[0]
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


def require_size(pipe: StableDiffusionPipeline, size: int) -> None:
    """Raise ConfigError for a size in pixels that the base cannot draw."""
    multiple = pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    if size % multiple:
        raise ConfigError(f"pixels.size is {size}, but this base draws multiples of {multiple}")


def starting_noise(
    pipe: StableDiffusionPipeline, seeds: Sequence[int], size: int | None = None
) -> Float[Tensor, "n c h w"]:
    """Noise drawn on the CPU, so that a seed means the same image on every device."""
    return _noise(pipe, [torch.Generator().manual_seed(seed) for seed in seeds], size)


def _noise(
    pipe: StableDiffusionPipeline, generators: Sequence[torch.Generator], size: int | None
) -> Float[Tensor, "n c h w"]:
    """Each generator goes on to what a solver adds on the way, if it adds any."""
    edge = pipe.unet.config.sample_size if size is None else size // pipe.vae_scale_factor
    shape = (pipe.unet.config.in_channels, edge, edge)
    return torch.stack([torch.randn(shape, generator=each) for each in generators]).to(pipe.device)


def _conditional(
    embedded: Float[Tensor, "prompts tokens width"], told: Sequence[int] | None, n: int
) -> Float[Tensor, "{n} tokens width"]:
    """A row a sample, the last one repeated to fill the batch."""
    if told is None:
        return embedded[:1].expand(n, -1, -1).contiguous()
    filled = list(told) + [told[-1]] * (n - len(told))
    return embedded[filled]


def _denoise(
    pipe: StableDiffusionPipeline,
    conditional: Float[Tensor, "n tokens width"],
    negative: Float[Tensor, "n tokens width"],
    latents: Float[Tensor, "n c h w"],
    config: SamplerConfig,
    levels: Levels,
    generators: list[torch.Generator],
) -> Float[Tensor, "n c h w"]:
    """The latents stay in float32; only the denoiser may work in 16 bits.

    It is always given one layout of memory, as a compiled one is made anew for another.
    """
    scheduler = solver_for(pipe, levels, config.steps)
    guided = round(config.steps * config.guidance_until) if config.guidance > 1 else 0
    latents = latents * scheduler.init_noise_sigma
    for step, timestep in enumerate(scheduler.timesteps):
        given = latents.to(pipe.unet.dtype).contiguous()
        if step < guided:
            told, untold = _both(pipe.unet, given, timestep, conditional, negative)
            prediction = untold + config.guidance * (told - untold)
        else:
            prediction = _said(pipe.unet, given, timestep, conditional)
        latents = scheduler.step(prediction, timestep, latents, generator=generators, return_dict=False)[0]
    return latents


def _both(
    unet: nn.Module,
    given: Float[Tensor, "n c h w"],
    timestep: Tensor,
    conditional: Float[Tensor, "n tokens width"],
    negative: Float[Tensor, "n tokens width"],
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """What is said with the prompt and without."""
    if not _in_one_call(unet, len(given), given.device):
        return _said(unet, given, timestep, conditional), _said(unet, given, timestep, negative)
    said = _said(unet, torch.cat([given, given]), timestep, torch.cat([conditional, negative]))
    told, untold = said.chunk(2)
    return told, untold


def _in_one_call(unet: nn.Module, n: int, where: torch.device) -> bool:
    """On a CPU, whose cores then wait half as often; elsewhere where calls are short. A compiled one has one shape."""
    return not _is_compiled(unet) and (where.type == "cpu" or n <= _TOGETHER)


def _is_compiled(unet: nn.Module) -> bool:
    return unet._compiled_call_impl is not None  # noqa: SLF001 - no public question exists


def _said(
    unet: nn.Module, given: Float[Tensor, "n c h w"], timestep: Tensor, heard: Float[Tensor, "n tokens width"]
) -> Float[Tensor, "n c h w"]:
    said: Tensor = unet(given, timestep, heard, return_dict=False)[0]
    return said.float()
