"""What a denoiser is given beside the noisy sample, and the denoisers: a UNet, and classifier-free guidance around one.

Sampling and training call the same `Denoise`; guidance is a wrapper of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

_ONE_CALL = 8  # images up to which an accelerator is faster with one call for both, with and without the prompt


@dataclass(frozen=True)
class Conditioning:
    """What noise predictions depend on beside sample and timestep, a row a sample."""

    prompt_embeds: Float[Tensor, "n tokens width"]


class Denoise(Protocol):
    """A noise prediction in float32 (a velocity, if that is what the base predicts) of each noisy sample."""

    def __call__(
        self, sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning, /
    ) -> Float[Tensor, "n c h w"]:
        """Predict at one timestep for all samples, or at one each."""


def unet_denoise(unet: UNet2DConditionModel, call: Callable[..., Any] | None = None) -> Denoise:
    """A UNet as `Denoise`, called in its own precision; `call` is its compiled form, None: itself.

    The sample comes in one memory layout, as a compiled UNet is compiled anew for another.
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
    denoise: Denoise, uncond: Conditioning, guidance_scale: float, until: float = 0, *, one_call: bool = True
) -> Denoise:
    """Classifier-free guidance at the timesteps from `until` up; below, and at a scale of 1, the denoiser itself.

    uncond + scale (text - uncond), Ho and Salimans 2022. With `one_call` both are computed as one batch.
    """
    if guidance_scale == 1:
        return denoise

    def both(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
        if not one_call:
            return denoise(sample, timestep, conditioning), denoise(sample, timestep, uncond)
        embeds = torch.cat([conditioning.prompt_embeds, uncond.prompt_embeds])
        text, without = denoise(torch.cat([sample, sample]), timestep, Conditioning(embeds)).chunk(2)
        return text, without

    def guided_denoise(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        if timestep < until:
            return denoise(sample, timestep, conditioning)
        noise_pred_text, noise_pred_uncond = both(sample, timestep, conditioning)
        return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

    return guided_denoise


def one_call_is_faster(unet: nn.Module, n: int, device: torch.device) -> bool:
    """Whether guidance of n images is faster as one call of 2 n.

    It is on a CPU, whose cores then wait half as often; elsewhere where calls are short. A compiled UNet has one
    batch shape, which unguided steps share.
    """
    is_compiled = unet._compiled_call_impl is not None  # noqa: SLF001 - torch has no public way to ask
    return not is_compiled and (device.type == "cpu" or n <= _ONE_CALL)


@torch.inference_mode()
def encode_prompt(pipe: StableDiffusionPipeline, prompt: str) -> Float[Tensor, "1 tokens width"]:
    """The text encoder's embeddings of one prompt, whose bits then depend on no other prompt; for sampling."""
    return encode_prompts(pipe, [prompt])


def encode_prompts(pipe: StableDiffusionPipeline, prompts: Sequence[str]) -> Float[Tensor, "n tokens width"]:
    """The same of many prompts in one batch, with gradients where the caller's mode keeps them; for training."""
    encoded = pipe.encode_prompt(list(prompts), pipe.text_encoder.device, 1, do_classifier_free_guidance=False)
    embeds: Tensor = encoded[0]
    return embeds
