"""Pixels of a list of seeds, a batch at a time, in batches that fit the device's memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import UInt8

from augment import device
from augment.diffusion import sample as sampler
from augment.generate.config import GenerateConfig
from data.errors import ConfigError

_log = logging.getLogger(__name__)


def draw(
    pipe: StableDiffusionPipeline, prompts: str | list[str], seeds: Sequence[int], config: GenerateConfig, size: int
) -> Iterator[UInt8[np.ndarray, "n size size 3"]]:
    """Pixels in the seeds' order. A prompt a seed, or one for all; each distinct one is encoded once.

    Where a batch does not fit the device's memory, half of it is tried, and so on. Raises ConfigError where not even
    one image fits, and InputError for latents or pixels that are not finite.
    """
    distinct = [prompts] if isinstance(prompts, str) else list(dict.fromkeys(prompts))
    row = {prompt: index for index, prompt in enumerate(distinct)}
    embedded, untold = sampler.encode_all(pipe, distinct), sampler.encode(pipe, config.negative_prompt)
    told = None if isinstance(prompts, str) else [row[prompt] for prompt in prompts]
    sampling, chunk, done = config.sampling(), config.decode_batch, 0
    while done < len(seeds):
        part = slice(done, done + sampling.batch_size)
        these = None if told is None else told[part]
        try:
            batches = sampler.sample_batches(pipe, embedded, untold, seeds[part], sampling, size, these, config.levels)
            images, chunk = sampler.decode_as_fits(pipe, next(batches), chunk)
        except torch.OutOfMemoryError:
            images = None
        if images is None:
            sampling = dataclasses.replace(sampling, batch_size=_lowered(sampling.batch_size, size))
            continue
        yield images
        done += len(images)


def _lowered(batch_size: int, size: int) -> int:
    device.free_memory()
    if batch_size == 1:
        raise ConfigError(
            f"generate: not even one image of {size} pixels fits the device's memory; lower pixels.size, or end what "
            "else uses the device"
        )
    _log.warning("%d images at a time do not fit the device's memory; going on with %d", batch_size, batch_size // 2)
    return batch_size // 2
