"""What a class's present adapter draws while it is trained: previews, and the images that choose its step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from augment import device as devices
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.prompt_chunks import count_chunks
from augment.diffusion.sample import PromptedSeeds
from augment.finetune.examples import EMPTY, INSTANCE
from augment.finetune.preview import preview_latents, preview_seeds
from augment.finetune.select import drawn_latents
from data.errors import InputError
from data.store import derive_seed

if TYPE_CHECKING:
    from augment.finetune.trainer import ClassTrainer

log = logging.getLogger(__name__)


def preview_images(trainer: ClassTrainer) -> UInt8[np.ndarray, "n H W 3"] | None:
    """The images of a preview, of the class's prompt or that of the config; None, with a warning, where that fails.

    A ControlNet's follow the condition images of the shots in turn.
    """

    def latents() -> Float[Tensor, "n c h w"]:
        config, (prompt_embeds, negative_embeds) = trainer.config.preview, _preview_embeds(trainer)
        images = PromptedSeeds(
            prompt_embeds=prompt_embeds,
            negative_embeds=negative_embeds,
            seeds=preview_seeds(config.batch_size),
            conditions=trainer.examples.conditions,
            condition_index=trainer.examples.conditions_in_turn(config.batch_size),
        )
        return preview_latents(trainer.trainable.pipe, images, config, _size(trainer))

    return _drawn(trainer, latents, "preview")


def _preview_embeds(trainer: ClassTrainer) -> tuple[Float[Tensor, "1 tokens width"], Float[Tensor, "1 tokens width"]]:
    """Embeddings of a preview's prompt and of the empty one, of as many chunks."""
    prompt, pipe = trainer.examples.preview_prompt, trainer.trainable.pipe
    if not prompt:
        embeds = torch.split(trainer.prompt_embeds(), 1)
        return embeds[INSTANCE], embeds[EMPTY]
    n_chunks = count_chunks(pipe, [prompt])
    return encode_prompt(pipe, prompt, n_chunks=n_chunks), encode_prompt(pipe, "", n_chunks=n_chunks)


def choice_images(trainer: ClassTrainer) -> UInt8[np.ndarray, "n H W 3"] | None:
    """The images of the choice's seeds, with the shots' prompts in turn; None, with a warning, where that fails."""
    own = trainer.examples.prompt_index
    prompts = [INSTANCE] if own is None else own.tolist()
    seeds = [derive_seed(trainer.examples.seed, "select", index) for index in range(trainer.config.select_images)]

    def latents() -> Float[Tensor, "n c h w"]:
        embeds = trainer.prompt_embeds()
        images = PromptedSeeds(
            prompt_embeds=embeds,
            negative_embeds=embeds[EMPTY : EMPTY + 1],
            seeds=seeds,
            prompt_index=[prompts[index % len(prompts)] for index in range(len(seeds))],
            conditions=trainer.examples.conditions,
            condition_index=trainer.examples.conditions_in_turn(len(seeds)),
        )
        return drawn_latents(trainer.trainable.pipe, images, _size(trainer))

    return _drawn(trainer, latents, "choice")


def _drawn(
    trainer: ClassTrainer, latents: Callable[[], Float[Tensor, "n c h w"]], what: str
) -> UInt8[np.ndarray, "n H W 3"] | None:
    config = trainer.config
    try:
        if config.cpu_offload:
            devices.to_device_only(trainer.base, trainer.device, "vae", "text_encoder")
        with torch.no_grad(), devices.autocast(trainer.device):
            trainer.trainable.bind([trainer.parameters])
            drawn = latents()
        return decode(trainer.base, drawn, config.vae_batch_size)
    except torch.OutOfMemoryError:
        failure = "not even one image at a time fits the device's memory"
    except InputError as error:
        failure = str(error)
    finally:
        if config.cpu_offload:
            devices.offload(trainer.base)
    log.warning("%s: no %s of step %d: %s", trainer.examples.label, what, len(trainer.losses), failure)
    devices.free_memory()
    return None


def _size(trainer: ClassTrainer) -> int:
    """Edge length of the images, in pixels."""
    return int(trainer.examples.means.shape[-1] * trainer.base.vae_scale_factor)
