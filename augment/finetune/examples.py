"""What one class is trained on, computed once: the posteriors of its images' latents, its prompts, its seed.

A step's batch follows from the class's seed and the step's number alone. So a resumed training is the same as an
uninterrupted one, and a class's result does not depend on the other classes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from augment.conditions.images import ConditionImages
from augment.context import Context
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.objective import stratified_timesteps
from augment.diffusion.prompt_chunks import count_chunks
from augment.diffusion.sample import SamplerConfig, sample_latents
from augment.methods.contract import PriorPreservation
from augment.prompts import (
    PromptConfig,
    attributes_of,
    captions_for,
    class_prompt,
    instance_prompt,
    prompt_for,
    token_prompt,
)
from data.manifest import Manifest
from data.oom import with_oom_backoff
from data.store import derive_seed

_log = logging.getLogger(__name__)

INSTANCE, PRIOR, EMPTY = 0, 1, 2  # prompts: the class's, the prior's, the empty one; then those of single images
_PRIOR_BATCH = 32  # images of the prior sampled at a time


@dataclass(frozen=True)
class ClassExamples:
    """One class's examples; all tensors on the CPU."""

    label: str
    seed: int
    prompts: tuple[str, ...]  # INSTANCE, PRIOR, EMPTY, and those of images that have their own
    means: Float[Tensor, "shots views c h w"]
    stds: Float[Tensor, "shots views c h w"]
    prior_latents: Float[Tensor, "images c h w"]  # no images: no prior preservation
    prior_loss_weight: float = 1.0
    prompt_index: Int[Tensor, " shots"] | None = None  # each image's prompt; None: INSTANCE
    class_name: str = ""  # the class in words
    conditions: ConditionImages | None = None  # one a shot, for a ControlNet
    preview_prompt: str = ""  # "": the class's

    def conditions_in_turn(self, n: int) -> list[tuple[int, int]]:
        """The condition images of n images, as rows and views: those of the shots in turn, as they are."""
        return [(index % len(self.means), 0) for index in range(n)]


@dataclass(frozen=True)
class Batch:
    """Samples of one step; the loss is the weighted sum of theirs."""

    latents: Float[Tensor, "n c h w"]
    noise: Float[Tensor, "n c h w"]
    timesteps: Int[Tensor, " n"]
    prompt_index: Int[Tensor, " n"]
    loss_weights: Float[Tensor, " n"]
    condition: Float[Tensor, "n 3 H W"] | None = None  # in [0, 1]

    def part(self, index: int, parts: int) -> Batch:
        """Every `parts`-th sample from `index`."""
        rows: dict[str, Any] = {
            name: None if tensor is None else tensor[index::parts] for name, tensor in vars(self).items()
        }
        return Batch(**rows)


def class_prompts(
    label: str, shots: Manifest, token: str | None, config: PromptConfig, *, token_replaces_class: bool = False
) -> tuple[tuple[str, ...], Int[Tensor, " shots"]]:
    """The prompts of a class, and which of them goes with each image.

    With a rare `token` they are DreamBooth's, or the token stands for the class's own words. Where the config names
    columns or captions, an image's prompt has what they say; images without a caption are counted in the log.
    """
    if token and token_replaces_class:
        prompt = token_prompt(token, config)
    else:
        prompt = instance_prompt(label, token, config) if token else prompt_for(label, config)
    captions = captions_for(shots, config)
    own = [attributes.added_to(prompt) for attributes in attributes_of(shots, config, captions)]
    if config.captions != "none" and "" in captions:
        first = shots.table["image_id"][captions.index("")]
        _log.warning(
            "%s: %d of %d images have no caption, first %s; their prompts have none",
            label, captions.count(""), len(captions), first,
        )  # fmt: skip
    prompts = tuple(dict.fromkeys([prompt, class_prompt(config), "", *own]))
    return prompts, torch.tensor([prompts.index(each) for each in own])


def sample_prior(
    pipe: StableDiffusionPipeline, prior: PriorPreservation | None, context: Context
) -> Float[Tensor, "images c h w"]:
    """Latents of images of any class, sampled by the base itself; on the CPU, and never decoded. None: no images."""
    size = context.pixels.size
    if prior is None:
        edge = size // pipe.vae_scale_factor
        return torch.empty(0, pipe.vae.config.latent_channels, edge, edge)
    seeds = [derive_seed(context.seed, "prior", index) for index in range(prior.num_class_images)]
    sampler = SamplerConfig(batch_size=min(len(seeds), _PRIOR_BATCH))
    prompts = (class_prompt(context.prompts), "")
    n_chunks = count_chunks(pipe, prompts)
    prompt_embeds, negative_embeds = (encode_prompt(pipe, prompt, n_chunks=n_chunks) for prompt in prompts)
    return sample_latents(pipe, prompt_embeds, negative_embeds, seeds, sampler, size).float().cpu().clone()


@torch.inference_mode()
def encode_posteriors(
    pipe: StableDiffusionPipeline, pixels: UInt8[np.ndarray, "n H W 3"], *, dihedral: bool, batch_size: int = 8
) -> tuple[Float[Tensor, "n views c h w"], Float[Tensor, "n views c h w"]]:
    """Mean and standard deviation of the scaled latents: of each image, or of its eight symmetries if `dihedral`.

    `batch_size` images are encoded at a time, or fewer where they do not fit the device's memory.
    """
    views = torch.from_numpy(np.ascontiguousarray(np.stack(symmetries(pixels) if dihedral else [pixels], axis=1)))
    images = views.flatten(0, 1).permute(0, 3, 1, 2)

    def encode(part: slice) -> Tensor:
        scaled = (images[part].to(pipe.vae.device, pipe.vae.dtype) / 127.5) - 1
        posterior = pipe.vae.encode(scaled).latent_dist
        return torch.stack([posterior.mean, posterior.std], dim=1).float().cpu()

    encoded, _ = with_oom_backoff(encode, len(images), batch_size)
    latents = torch.cat(encoded) * pipe.vae.config.scaling_factor
    means, stds = latents.reshape(*views.shape[:2], *latents.shape[1:]).unbind(2)
    return means.clone(), stds.clone()


def symmetries(pixels: UInt8[np.ndarray, "n H W 3"]) -> list[UInt8[np.ndarray, "n H W 3"]]:
    """The eight rotations and reflections of the square: a lesion has no up or down."""
    rotated = [np.rot90(pixels, turns, axes=(1, 2)) for turns in range(4)]
    return [*rotated, *(image[:, :, ::-1] for image in rotated)]


def training_batch(
    examples: ClassExamples, step: int, n: int, *, num_train_timesteps: int, caption_dropout: float
) -> Batch:
    """The batch of one step: n samples of the class, and as many of the prior if there is one."""
    generator = torch.Generator().manual_seed(derive_seed(examples.seed, "step", step))
    shots, views, *shape = examples.means.shape
    image = _evenly(shots, n, generator)
    view = torch.randint(views, (n,), generator=generator)
    posterior_noise = torch.randn(n, *shape, generator=generator)
    latents = examples.means[image, view] + examples.stds[image, view] * posterior_noise
    own = torch.full((n,), INSTANCE) if examples.prompt_index is None else examples.prompt_index[image]
    prompt_index = torch.where(torch.rand(n, generator=generator) < caption_dropout, EMPTY, own)
    timesteps = stratified_timesteps(n, num_train_timesteps, generator)
    weights = torch.full((n,), 1 / n)
    prior = examples.prior_latents
    if len(prior):
        latents = torch.cat([latents, prior[_evenly(len(prior), n, generator)]])
        prompt_index = torch.cat([prompt_index, torch.full((n,), PRIOR)])
        timesteps = torch.cat([timesteps, stratified_timesteps(n, num_train_timesteps, generator)])
        weights = torch.cat([weights, weights * examples.prior_loss_weight])
    noise = torch.randn(latents.shape, generator=generator)
    condition = None if examples.conditions is None else examples.conditions.turned(image.tolist(), view.tolist())
    return Batch(latents, noise, timesteps, prompt_index, weights, condition)


def _evenly(of: int, n: int, generator: torch.Generator) -> Int[Tensor, " {n}"]:
    """Indices below `of` in random order, each as often as the others within one."""
    rounds = [torch.randperm(of, generator=generator) for _ in range(-(-n // of))]
    return torch.cat(rounds)[:n]
