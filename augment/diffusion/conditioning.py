"""Denoisers: a UNet and classifier-free guidance as a wrapper of it; and their conditioning, encoded prompts.

Sampling and training call the same `Denoise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor, nn

from augment.diffusion.control import control_residuals
from augment.diffusion.prompt_chunks import prompt_chunks, token_ids
from augment.diffusion.prompt_weighting import MAX_WEIGHT, Emphasis
from data.errors import ConfigError

_ONE_CALL = 8  # images up to which an accelerator is faster with both predictions of guidance in one call


@dataclass(frozen=True)
class Conditioning:
    """What noise predictions depend on besides sample and timestep, one row per sample."""

    prompt_embeds: Float[Tensor, "n tokens width"]
    condition: Float[Tensor, "n 3 H W"] | None = None  # for a ControlNet: pixels in [0, 1]

    def beside(self, other: Conditioning) -> Conditioning:
        """These rows, then those of another, which has condition images if this one has."""
        embeds = torch.cat([self.prompt_embeds, other.prompt_embeds])
        if self.condition is None or other.condition is None:
            return Conditioning(embeds)
        return Conditioning(embeds, torch.cat([self.condition, other.condition]))


@runtime_checkable
class Denoise(Protocol):
    """Predicts, in float32, what the base was trained to predict: the noise, or the velocity."""

    def __call__(
        self, sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning, /
    ) -> Float[Tensor, "n c h w"]:
        """The prediction for each sample, at one timestep for all or one per sample."""


def unet_denoise(unet: UNet2DConditionModel, call: Callable[..., Any] | None = None) -> Denoise:
    """A UNet as `Denoise`, called in its own precision; `call` is its compiled call, None: the UNet itself.

    Where there are condition images, its ControlNet is called first. The sample is made contiguous: a compiled UNet
    would be compiled again for another memory layout.
    """
    forward = unet if call is None else call

    def denoise(
        sample: Float[Tensor, "n c h w"], timestep: Tensor, conditioning: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        sample = sample.to(unet.dtype).contiguous()
        embeds = conditioning.prompt_embeds.to(unet.dtype)
        residuals = control_residuals(unet, sample, timestep, embeds, conditioning.condition)
        noise_pred: Tensor = forward(sample, timestep, embeds, **residuals, return_dict=False)[0]
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
        text, unconditional = denoise(torch.cat([sample, sample]), timestep, conditioning.beside(uncond)).chunk(2)
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
def encode_prompt(
    pipe: StableDiffusionPipeline, prompt: str, emphasis: Emphasis = "plain", n_chunks: int = 1
) -> Float[Tensor, "1 tokens width"]:
    """Embeddings of one prompt, for sampling; encoded alone, so their bits do not depend on other prompts.

    The embeddings of its chunks one after the other, filled up with empty chunks to `n_chunks`; each token's are
    multiplied by its weight. Raises ConfigError for syntax that is not read.
    """
    chunks = prompt_chunks(pipe, prompt, emphasis, n_chunks)
    embeds = _text_states(pipe, chunks.token_ids)
    if (chunks.weights != 1).any():
        embeds = _emphasized(embeds, chunks.weights.to(embeds), emphasis)
    return embeds.flatten(0, 1)[None]


def encode_prompts(pipe: StableDiffusionPipeline, prompts: Sequence[str]) -> Float[Tensor, "n tokens width"]:
    """Embeddings of prompts encoded in one batch, for training; gradients reach a text encoder that is trained.

    Weights are left out: what is learned at weight 1 is then emphasised by the weight that a prompt of sampling has.
    """
    ids = token_ids(pipe, prompts)
    states = _text_states(pipe, ids.flatten(0, 1))
    return states.reshape(len(prompts), -1, states.shape[-1])


def _text_states(
    pipe: StableDiffusionPipeline, token_ids: Int[Tensor, "chunks tokens"]
) -> Float[Tensor, "chunks tokens width"]:
    """The text encoder's last states, without a mask, as Stable Diffusion 1 and 2 have them."""
    encoder = pipe.text_encoder
    states: Tensor = encoder(token_ids.to(encoder.device))[0]
    return states.to(encoder.dtype)


def _emphasized(
    embeds: Float[Tensor, "chunks tokens width"], weights: Float[Tensor, "chunks tokens"], emphasis: Emphasis
) -> Float[Tensor, "chunks tokens width"]:
    """Embeddings times weights; with "webui-mean" each chunk is rescaled to the mean that it had."""
    weighted = embeds * weights[..., None]
    if emphasis != "webui-mean":
        return weighted
    before, after = (each.float().mean((1, 2), keepdim=True) for each in (embeds, weighted))
    factors = torch.where((weights == 1).all(1)[:, None, None], 1.0, before / after)
    if not (factors.abs() <= MAX_WEIGHT).all():  # nor if one is NaN
        raise ConfigError(
            "generate.emphasis: webui-mean multiplies the embeddings of a prompt by "
            f"{factors.abs().max().item():g}, since their mean is nearly 0; set it to plain"
        )
    return (weighted * factors).to(embeds.dtype)
