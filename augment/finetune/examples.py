"""What one class is learned from, computed once: the posteriors of its images' latents, its prompt, its seed.

A step's batch follows from the class's seed and the step's number alone. So a resumed training is
the same as an uninterrupted one, and a class's result does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from augment.diffusion.objective import stratified_timesteps
from data.oom import with_oom_backoff
from data.store import digest

INSTANCE, PRIOR, EMPTY = 0, 1, 2  # rows of the embeddings: the class's prompt, any lesion's, none; then images' own


@dataclass(frozen=True)
class Lesson:
    """One class, ready to be learned; everything on the CPU."""

    label: str
    seed: int
    prompts: tuple[str, ...]  # INSTANCE, PRIOR, EMPTY, and those of images that have one of their own
    means: Float[Tensor, "shots views c h w"]
    deviations: Float[Tensor, "shots views c h w"]
    prior: Float[Tensor, "images c h w"]  # none for LoRA
    told: Int[Tensor, " shots"] | None = None  # which prompt goes with which image; None: INSTANCE with all


@dataclass(frozen=True)
class Batch:
    """Samples of one step; the loss is the weighted sum of theirs."""

    clean: Float[Tensor, "n c h w"]
    noise: Float[Tensor, "n c h w"]
    timesteps: Int[Tensor, " n"]
    prompts: Int[Tensor, " n"]  # rows of the embeddings
    weights: Float[Tensor, " n"]

    def part(self, index: int, parts: int) -> Batch:
        """Every so-manieth sample, from this one on."""
        return Batch(**{name: tensor[index::parts] for name, tensor in vars(self).items()})


def seed_for(*parts: object) -> int:
    """A seed of 48 bits that follows from the parts; a float or a CSV holds it exactly."""
    return int(digest(*parts)[:12], 16)


@torch.inference_mode()
def posteriors(
    pipe: StableDiffusionPipeline, pixels: UInt8[np.ndarray, "n H W 3"], *, flips: bool, chunk: int = 8
) -> tuple[Float[Tensor, "n views c h w"], Float[Tensor, "n views c h w"]]:
    """Mean and standard deviation of the scaled latents, of each image in its eight turns and mirrors if `flips`.

    `chunk` images are encoded at a time, or fewer where so many do not fit the device's memory.
    """
    views = list(dihedral(pixels)) if flips else [pixels]
    stack = torch.from_numpy(np.ascontiguousarray(np.stack(views, axis=1)))
    images = stack.flatten(0, 1).permute(0, 3, 1, 2)

    def encoded(part: slice) -> Tensor:
        given = (images[part].to(pipe.vae.device, pipe.vae.dtype) / 127.5) - 1
        posterior = pipe.vae.encode(given).latent_dist
        return torch.stack([posterior.mean, posterior.std], dim=1).float().cpu()

    found, _ = with_oom_backoff(encoded, len(images), chunk)
    scaled = torch.cat(found) * pipe.vae.config.scaling_factor
    mean, deviation = scaled.reshape(*stack.shape[:2], *scaled.shape[1:]).unbind(2)
    return mean.clone(), deviation.clone()


def dihedral(pixels: UInt8[np.ndarray, "n H W 3"]) -> list[UInt8[np.ndarray, "n H W 3"]]:
    """The eight symmetries of the square: a lesion has no up or down."""
    turned = [np.rot90(pixels, turns, axes=(1, 2)) for turns in range(4)]
    return [*turned, *(image[:, :, ::-1] for image in turned)]


def draw(lesson: Lesson, step: int, n: int, total: int, *, prior_weight: float, dropout: float) -> Batch:
    """The batch of one step: n samples of the class, and as many of the prior if there is one.

    `total` is the number of noise levels, `dropout` the probability that a sample's prompt is left out.
    """
    generator = torch.Generator().manual_seed(seed_for(lesson.seed, "step", step))
    shots, views, *shape = lesson.means.shape
    image = _evenly(shots, n, generator)
    view = torch.randint(views, (n,), generator=generator)
    posterior_noise = torch.randn(n, *shape, generator=generator)
    clean = lesson.means[image, view] + lesson.deviations[image, view] * posterior_noise
    told = torch.full((n,), INSTANCE) if lesson.told is None else lesson.told[image]
    prompts = torch.where(torch.rand(n, generator=generator) < dropout, EMPTY, told)
    timesteps = stratified_timesteps(n, total, generator)
    weights = torch.full((n,), 1 / n)
    if len(lesson.prior):
        clean = torch.cat([clean, lesson.prior[_evenly(len(lesson.prior), n, generator)]])
        prompts = torch.cat([prompts, torch.full((n,), PRIOR)])
        timesteps = torch.cat([timesteps, stratified_timesteps(n, total, generator)])
        weights = torch.cat([weights, weights * prior_weight])
    noise = torch.randn(clean.shape, generator=generator)
    return Batch(clean, noise, timesteps, prompts, weights)


def _evenly(of: int, n: int, generator: torch.Generator) -> Int[Tensor, " {n}"]:
    """Indices below `of` in random order, each as often as the others within one."""
    rounds = [torch.randperm(of, generator=generator) for _ in range(-(-n // of))]
    return torch.cat(rounds)[:n]
