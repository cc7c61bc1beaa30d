"""Pixels of a list of seeds, in batches that fit the device's memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import UInt8

from augment import device
from augment.conditions.images import ConditionImages
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode_with_backoff
from augment.diffusion.edit import Canvases
from augment.diffusion.presets import preset_sampler
from augment.diffusion.prompt_chunks import count_chunks
from augment.diffusion.sample import PromptedSeeds, sample_batch
from augment.generate.config import GenerateConfig
from data.errors import ConfigError

_log = logging.getLogger(__name__)


def generate_pixels(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: GenerateConfig,
    size: int,
    all_prompts: Iterable[str] = (),
    canvases: Canvases | None = None,
    conditions: ConditionImages | None = None,
    condition_index: Sequence[tuple[int, int]] = (),
) -> Iterator[UInt8[np.ndarray, "n size size 3"]]:
    """Batches of images in the seeds' order, one prompt per seed; each distinct prompt is encoded once.

    All embeddings are as long as that of the longest prompt. `all_prompts` are the others that images of this class
    may have: so an image does not depend on which others are drawn beside it. `canvases` are what the images are edited
    from; None: they are generated from noise alone. Images of different strengths are never in one batch.
    `condition_index` has the row and view of each image's condition image.

    A batch that does not fit the device's memory is halved until it does. Raises ConfigError if a single image does
    not fit, and InputError for latents or pixels that are not finite.
    """
    encoded = _encoded(pipe, prompts, seeds, config, all_prompts)
    images = dataclasses.replace(encoded, conditions=conditions, condition_index=condition_index)
    few_step = None if config.few_step is None else config.few_step.kind
    sampler = str(config.named_sampler or preset_sampler(pipe, config.preset, few_step))
    sampling, vae_batch_size, done = config.sampling(), config.vae_batch_size, 0
    while done < len(images):
        rows = slice(done, done + sampling.batch_size)
        rows = rows if canvases is None else canvases.batch_from(done, sampling.batch_size)
        edited = None if canvases is None else canvases.part(rows)
        try:
            latents = sample_batch(pipe, images.part(rows), sampling, size, sampler, edited)
            pixels, vae_batch_size = decode_with_backoff(pipe, latents, vae_batch_size)
        except torch.OutOfMemoryError:
            pixels = None
        if pixels is None:  # after the handler: an exception that is handled keeps the failed batch's tensors alive
            sampling = dataclasses.replace(sampling, batch_size=_halved(sampling.batch_size, size))
            continue
        yield pixels if edited is None else edited.paste(pixels)
        done += len(pixels)


def _encoded(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: GenerateConfig,
    all_prompts: Iterable[str],
) -> PromptedSeeds:
    distinct = list(dict.fromkeys(prompts))
    row = {prompt: index for index, prompt in enumerate(distinct)}
    negative, emphasis = config.negative_prompt, config.emphasis
    n_chunks = count_chunks(pipe, [*distinct, *all_prompts, negative], emphasis)
    return PromptedSeeds(
        prompt_embeds=torch.cat([encode_prompt(pipe, prompt, emphasis, n_chunks) for prompt in distinct]),
        negative_embeds=encode_prompt(pipe, negative, emphasis, n_chunks),
        seeds=seeds,
        prompt_index=[row[prompt] for prompt in prompts],
    )


def _halved(batch_size: int, size: int) -> int:
    device.free_memory()
    if batch_size == 1:
        raise ConfigError(
            f"generate: not even one image of {size} pixels fits the device's memory; lower pixels.size, or end what "
            "else uses the device"
        )
    _log.warning("%d images at a time do not fit the device's memory; going on with %d", batch_size, batch_size // 2)
    return batch_size // 2
