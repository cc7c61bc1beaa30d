"""The sampling loop, and latents of a list of seeds in batches.

The batch shape never changes (the last batch is filled up), so an image depends on its own seed and, within rounding,
on the batch size and its place in a batch, not on how many other images are sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from augment.conditions.images import ConditionImages
from augment.diffusion.brownian import seed_brownian_paths
from augment.diffusion.conditioning import Conditioning, Denoise, guided, one_call_is_faster, unet_denoise
from augment.diffusion.edit import Canvases, LatentEdit
from augment.diffusion.sampler_names import sampler_named
from augment.diffusion.samplers import scheduler_for
from data.config import STRICT
from data.errors import ConfigError


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplerConfig:
    """How latents are denoised, for previews and prior images; what `generate` leaves out is its preset's.

    A guidance scale of 2 to 3 makes better training data than the usual 7.5.
    """

    steps: Annotated[int, Field(ge=1, le=1000)] = 20  # of the scheduler; guidance calls the denoiser twice
    guidance_scale: Annotated[float, Field(ge=1, le=50)] = 2.0  # 1 = none
    guidance_end: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the steps, from the first, with guidance
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32  # images


@plain_dataclass(frozen=True, kw_only=True)
class PromptedSeeds:
    """Images to sample: their seeds, and the encoded prompt of each."""

    prompt_embeds: Float[Tensor, "prompts tokens width"]
    negative_embeds: Float[Tensor, "1 tokens width"]
    seeds: Sequence[int]
    prompt_index: Sequence[int] | None = None  # prompt_embeds[prompt_index[i]] goes with seeds[i]; None: the first
    conditions: ConditionImages | None = None  # for a ControlNet
    condition_index: Sequence[tuple[int, int]] = ()  # row and view of the condition image that goes with each seed

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, rows: slice) -> PromptedSeeds:
        """Some of the images."""
        return PromptedSeeds(
            prompt_embeds=self.prompt_embeds,
            negative_embeds=self.negative_embeds,
            seeds=self.seeds[rows],
            prompt_index=None if self.prompt_index is None else self.prompt_index[rows],
            conditions=self.conditions,
            condition_index=self.condition_index[rows],
        )

    def padded_seeds(self, n: int) -> list[int]:
        """The seeds, the last one repeated up to n."""
        return [*self.seeds, *[self.seeds[-1]] * (n - len(self))]

    def generators(self, n: int) -> list[torch.Generator]:
        """One generator per image, on the CPU; the last seed is repeated up to n."""
        return [torch.Generator().manual_seed(seed) for seed in self.padded_seeds(n)]

    def conditioning(self, n: int) -> tuple[Conditioning, Conditioning]:
        """Of the prompts and of the negative prompt, one row per image; the last row is repeated up to n.

        Both have the same condition images.
        """
        if self.prompt_index is None:
            embeds = self.prompt_embeds[:1].expand(n, -1, -1).contiguous()
        else:
            embeds = self.prompt_embeds[[*self.prompt_index, *[self.prompt_index[-1]] * (n - len(self))]]
        negative, condition = self.negative_embeds.expand(n, -1, -1).contiguous(), self._condition(n)
        return Conditioning(embeds, condition), Conditioning(negative, condition)

    def _condition(self, n: int) -> Float[Tensor, "n 3 H W"] | None:
        if self.conditions is None:
            return None
        last = [self.condition_index[-1]] * (n - len(self))
        rows, views = zip(*self.condition_index, *last, strict=True)
        return self.conditions.turned(rows, views).to(self.prompt_embeds.device)


def sample(
    denoise: Denoise,
    latents: Float[Tensor, "n c h w"],
    conditioning: Conditioning,
    scheduler: Any,  # noqa: ANN401 - diffusers has no common type
    *,
    start: int = 0,
    generators: Sequence[torch.Generator] | None = None,
    after_step: Callable[[int, Tensor], Tensor] | None = None,
) -> Float[Tensor, "n c h w"]:
    """Denoise float32 latents at `scheduler.timesteps[start:]`; they come in at the first one's noise level.

    `generators`, one per image, only for a scheduler whose step takes them. `after_step` is called with each step's
    index and latents; what it returns replaces the latents. A step here is a call of the denoiser: some schedulers
    need two of them to pass one of their noise levels, and `start` must not fall between.
    """
    if hasattr(scheduler, "set_begin_index"):  # else it searches the timestep, and several steps may have the same
        scheduler.set_begin_index(start)
    options = {} if generators is None else {"generator": list(generators)}
    for step, timestep in enumerate(scheduler.timesteps[start:], start):
        noise_pred = denoise(scheduler.scale_model_input(latents, timestep), timestep, conditioning)
        latents = scheduler.step(noise_pred, timestep, latents, **options, return_dict=False)[0]
        if after_step is not None:
            latents = after_step(step, latents)
    return latents


@torch.inference_mode()
def sample_latents(
    pipe: StableDiffusionPipeline,
    prompt_embeds: Float[Tensor, "1 tokens width"],
    negative_embeds: Float[Tensor, "1 tokens width"],
    seeds: Sequence[int],
    config: SamplerConfig,
    size: int | None = None,
) -> Float[Tensor, "n c h w"]:
    """Latents of each seed, in order, multiplied by the VAE's scaling factor, as the UNet has them.

    `size` is in pixels; None: the base's own.
    """
    images = PromptedSeeds(prompt_embeds=prompt_embeds, negative_embeds=negative_embeds, seeds=seeds)
    starts = range(0, len(images), config.batch_size)
    parts = [images.part(slice(start, start + config.batch_size)) for start in starts]
    return torch.cat([sample_batch(pipe, part, config, size) for part in parts])


@torch.inference_mode()
def sample_batch(
    pipe: StableDiffusionPipeline,
    images: PromptedSeeds,
    config: SamplerConfig,
    size: int | None = None,
    sampler: str = "dpm++-2m",
    canvases: Canvases | None = None,
) -> Float[Tensor, "n c h w"]:
    """Latents of at most `config.batch_size` images, each with its own prompt.

    `canvases` are what the images are edited from, at one strength, one an image; None: they start from noise alone.
    Raises ConfigError for a wrong name and for a strength that makes no step.
    """
    n, row = config.batch_size, sampler_named(sampler).row
    scheduler, generators = scheduler_for(pipe, sampler, config.steps), images.generators(n)
    noise = starting_noise(pipe, generators, size)
    edit = None if canvases is None else LatentEdit.of(pipe, canvases.padded(n), scheduler, noise)
    latents = noise * scheduler.init_noise_sigma if edit is None else edit.starting_latents()
    start = 0 if edit is None else edit.start
    conditioning, uncond = images.conditioning(n)
    denoise = guided(
        unet_denoise(pipe.unet),
        uncond,
        config.guidance_scale,
        guided_until(scheduler.timesteps[start:], config.guidance_end),
        one_call=one_call_is_faster(pipe.unet, n, latents.device),
    )
    if row.is_brownian:
        seed_brownian_paths(scheduler, latents, images.padded_seeds(n))
    return sample(
        denoise,
        latents,
        conditioning,
        scheduler,
        start=start,
        generators=generators if row.takes_generator else None,
        after_step=None if edit is None else edit.after_step,
    )[: len(images)]


def guided_until(timesteps: Tensor, guidance_end: float) -> float:
    """The lowest timestep with guidance, where this share of the steps has it; infinity if no step has.

    A step is a call of the denoiser, of which there may be several at one timestep: all of them or none have guidance.
    """
    n_guided = round(len(timesteps) * guidance_end)
    return float(timesteps.sort(descending=True).values[n_guided - 1]) if n_guided else math.inf


def starting_noise(
    pipe: StableDiffusionPipeline, generators: Sequence[torch.Generator], size: int | None = None
) -> Float[Tensor, "n c h w"]:
    """Standard normal noise drawn on the CPU, so that a seed means the same image on every device.

    A scheduler that adds noise on the way goes on with the same generators.
    """
    edge = pipe.unet.config.sample_size if size is None else size // pipe.vae_scale_factor
    shape = (pipe.vae.config.latent_channels, edge, edge)
    return torch.stack([torch.randn(shape, generator=each) for each in generators]).to(pipe.device)


def require_size(pipe: StableDiffusionPipeline, size: int) -> None:
    """Raise ConfigError for a size in pixels that the base cannot make."""
    multiple = pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    if size % multiple:
        raise ConfigError(f"pixels.size is {size}, but this base makes multiples of {multiple}")
