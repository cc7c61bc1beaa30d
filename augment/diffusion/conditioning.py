"""Denoisers: a UNet and classifier-free guidance as a wrapper of it; and their conditioning, encoded prompts.

Sampling and training call the same `Denoise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from augment.base.words import require_words

_ONE_CALL = 8  # images up to which an accelerator is faster with both predictions of guidance in one call


@dataclass(frozen=True)
class Conditioning:
    """What noise predictions depend on besides sample and timestep, one row per sample."""

    prompt_embeds: Float[Tensor, "n tokens width"]


@runtime_checkable
class Denoise(Protocol):
    """Predicts, in float32, what the base was trained to predict: the noise, or the velocity."""

    def __call__(
        self, sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning, /
    ) -> Float[Tensor, "n c h w"]:
        """The prediction for each sample, at one timestep for all or one per sample."""


def unet_denoise(unet: UNet2DConditionModel, call: Callable[..., Any] | None = None) -> Denoise:
    """A UNet as `Denoise`, called in its own precision; `call` is its compiled call, None: the UNet itself.

    The sample is made contiguous: a compiled UNet would be compiled again for another memory layout.
    """
    forward = unet if call is None else call

    def denoise(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        sample = sample.to(unet.dtype).contiguous()
        noise_pred: Tensor = forward(sample, timestep, conditioning.prompt_embeds.to(unet.dtype), return_dict=False)[0]
        return noise_pred.float()

    return denoise


def guided(
    denoise: Denoise, uncond: Conditioning, guidance_scale: float, until: float = 0.0, *, one_call: bool = True
) -> Denoise:
    """Classifier-free guidance down to timestep `until`; below it, and with a scale of 1, `denoise` itself.

    uncond + scale (text - uncond), Ho and Salimans 2022. With `one_call` both predictions are one batch of 2 n.
    """
    if guidance_scale == 1:
        return denoise

    def both(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
        if not one_call:
            return denoise(sample, timestep, conditioning), denoise(sample, timestep, uncond)
        embeds = torch.cat([conditioning.prompt_embeds, uncond.prompt_embeds])
        text, unconditional = denoise(torch.cat([sample, sample]), timestep, Conditioning(embeds)).chunk(2)
        return text, unconditional

    def guided_denoise(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        if timestep < until:
            return denoise(sample, timestep, conditioning)
        noise_pred_text, noise_pred_uncond = both(sample, timestep, conditioning)
        return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

    return guided_denoise


def one_call_is_faster(unet: nn.Module, n: int, device: torch.device) -> bool:
    """Whether guidance of n samples is faster as one call of 2 n.

    On a CPU it is, since its cores wait for each other half as often; on an accelerator for small batches. A compiled
    UNet keeps the batch size of unguided steps: it would be compiled again for another.
    """
    is_compiled = unet._compiled_call_impl is not None  # noqa: SLF001 - torch has no public way to ask
    return not is_compiled and (device.type == "cpu" or n <= _ONE_CALL)


@torch.inference_mode()
def encode_prompt(pipe: StableDiffusionPipeline, prompt: str) -> Float[Tensor, "1 tokens width"]:
    """Embeddings of one prompt, for sampling; encoded alone, so their bits do not depend on other prompts."""
    return encode_prompts(pipe, [prompt])


def encode_prompts(pipe: StableDiffusionPipeline, prompts: Sequence[str]) -> Float[Tensor, "n tokens width"]:
    """Embeddings of prompts encoded in one batch, for training; gradients reach what is trained.

    Raises ConfigError for a prompt in which a learnt word cannot stand.
    """
    require_words(pipe, prompts)
    encoded = pipe.encode_prompt(list(prompts), pipe.text_encoder.device, 1, do_classifier_free_guidance=False)
    embeds: Tensor = encoded[0]
    return embeds
