"""A strip of small images every so many steps, to see how a training is going."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from augment.generate.mark import metadata, stamped
from data.durable import replacing
from data.oom import with_oom_backoff
from data.store import derive_seed

_EDGE = 128  # pixels of one image at most


def preview_latents(
    pipe: StableDiffusionPipeline, images: PromptedSeeds, config: SamplerConfig, size: int
) -> Float[Tensor, "n c h w"]:
    """Latents of one batch of images of `size` pixels; fewer at a time where they don't fit.

    Raises torch.OutOfMemoryError where not even one image fits.
    """

    def sampled(rows: slice) -> Tensor:
        part = images.part(rows)
        return sample_batch(pipe, part, dataclasses.replace(config, batch_size=len(part)), size)

    return torch.cat(with_oom_backoff(sampled, len(images), config.batch_size)[0])


def preview_seeds(n: int) -> list[int]:
    """The seeds of n images, the same for each preview."""
    return [derive_seed("preview", index) for index in range(n)]


def write_strip(images: UInt8[np.ndarray, "n H W 3"], path: Path) -> None:
    """Write the images side by side as one JPEG, each with the mark of a synthetic one."""
    small = [Image.fromarray(image) for image in images]
    for image in small:
        image.thumbnail((_EDGE, _EDGE))
    buffer = io.BytesIO()
    strip = np.concatenate([stamped(np.asarray(i)) for i in small], axis=1)
    Image.fromarray(strip).save(buffer, "JPEG", quality=92, **metadata("JPEG"))
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def strip_path(folder: Path, step: int) -> Path:
    """Where the strip of a step lies in an adapter's folder."""
    return folder / "previews" / f"step-{step:06d}.jpg"


def remove_later_strips(folder: Path, last: int) -> None:
    """Delete strips of steps beyond the last one: a killed training may have been further on than one that stopped."""
    for path in (folder / "previews").glob("step-*.jpg"):
        if path.name > strip_path(folder, last).name:
            path.unlink()


def preview_bytes(config: SamplerConfig, size: int) -> int:
    """Bytes of one strip on disk, at most."""
    return config.batch_size * min(_EDGE, size) ** 2 * 3 + 2**10
