"""Trains the denoiser and the text encoder of a tiny model on cached latents."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.device import autocast, compiles, default_device
from augment.diffusion.conditioning import Conditioning, Denoise, unet_denoise
from augment.diffusion.objective import min_snr_weights, noised, stratified_timesteps, target
from augment.diffusion.prompt_chunks import token_ids
from augment.training.lr_schedule import warm_cosine
from data.config import STRICT
from data.errors import TrainingError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, StableDiffusionPipeline

    from augment.training.checkpoint import Checkpoint, Stateful
    from data.progress import Progress


Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DenoiserConfig:
    """How the denoiser of a tiny model is trained."""

    steps: Positive = 4500
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 6e-4
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None  # None: all noise levels weigh the same in v's error
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1  # share of a batch with an empty prompt, for guidance
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999  # per step
    checkpointing_steps: Positive = 250


@plain_dataclass(frozen=True, kw_only=True)
class LatentDataset:
    """Posterior mean and standard deviation of each image's latents, its prompt, and how often it is sampled."""

    mean: Float[Tensor, "n channels h w"]
    std: Float[Tensor, "n channels h w"]
    prompts: Sequence[str]
    weights: Float[Tensor, " n"] | None = None  # None: all images equally often

    def __len__(self) -> int:
        return len(self.mean)

    def sample_indices(self, batch_size: int, generator: torch.Generator) -> Int[Tensor, " {batch_size}"]:
        """Rows of a batch, with replacement."""
        if self.weights is None:
            return torch.randint(len(self), (batch_size,), generator=generator)
        return torch.multinomial(self.weights, batch_size, replacement=True, generator=generator)


@plain_dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's samples: clean latents, noise, timesteps, and numbers of their prompts."""

    latents: Float[Tensor, "n channels h w"]
    noise: Float[Tensor, "n channels h w"]
    timesteps: Int[Tensor, " n"]
    prompt_ids: Int[Tensor, " n"]


class PromptEncoder:
    """Embeds a batch's prompts with the text encoder in training; each different prompt is encoded once."""

    def __init__(self, pipe: StableDiffusionPipeline, prompts: Sequence[str], device: torch.device) -> None:
        texts = list(dict.fromkeys(["", *prompts]))  # prompt 0 is the empty one
        number = {text: index for index, text in enumerate(texts)}
        self.prompt_ids = torch.tensor([number[prompt] for prompt in prompts])  # of each row
        self._token_ids, self._text_encoder, self._device = token_ids(pipe, texts), pipe.text_encoder, device

    def __call__(self, prompt_ids: Int[Tensor, " n"]) -> Float[Tensor, "n tokens width"]:
        """Embeddings of each sample's prompt."""
        encoded, rows = unique_prompts(prompt_ids, len(self._token_ids))
        chunks = self._token_ids[encoded]
        states: Tensor = self._text_encoder(chunks.flatten(0, 1).to(self._device)).last_hidden_state
        return states.reshape(len(chunks), -1, states.shape[-1])[rows.to(self._device)]


def train_denoiser(
    *,
    pipe: StableDiffusionPipeline,
    data: LatentDataset,
    config: DenoiserConfig,
    checkpoint: Checkpoint,
    seed: int,
    progress: Progress,
) -> None:
    """Train UNet and text encoder in place, resuming from the checkpoint, and leave their EMA weights in the pipe.

    The note of `progress` is the loss. Raises TrainingError for a loss that is not finite.
    """
    device = default_device()
    model = nn.ModuleDict({"unet": pipe.unet, "text": pipe.text_encoder}).train().to(device)
    pipe.unet.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(model).requires_grad_(requires_grad=False)
    if compiles(device):
        pipe.unet.compile()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True
    )
    lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(config.steps, warmup=200))
    parts: dict[str, Stateful] = {"model": model, "ema": ema, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
    first = checkpoint.restore(parts)
    encode = PromptEncoder(pipe, data.prompts, device)
    timesteps = pipe.scheduler.config.num_train_timesteps
    for step in range(first, config.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        batch = sample_batch(data, encode.prompt_ids, config, timesteps, generator)
        with autocast(device):
            conditioning = Conditioning(encode(batch.prompt_ids))
            loss = denoising_loss(unet_denoise(pipe.unet), pipe.scheduler, batch, conditioning, config.min_snr_gamma)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        lr_scheduler.step()
        if not math.isfinite(loss.item()):
            raise TrainingError(f"denoiser: the loss is {loss.item()} at step {step + 1}; lower its learning_rate")
        update_ema(ema, model, min(config.ema_decay, (1 + step) / (10 + step)))
        progress(step + 1, config.steps, f"loss {loss.item():.3f}")
        if (step + 1) % config.checkpointing_steps == 0 or step + 1 == config.steps:
            checkpoint.save(step + 1, parts)
    model.load_state_dict(ema.state_dict())
    model.eval()


def sample_batch(
    data: LatentDataset,
    prompt_ids: Int[Tensor, " n"],
    config: DenoiserConfig,
    num_train_timesteps: int,
    generator: torch.Generator,
) -> Batch:
    """A batch on the CPU; a share of its prompts is replaced by the empty one, number 0."""
    rows = data.sample_indices(config.batch_size, generator)
    noise = torch.randn((2, *data.mean[rows].shape), generator=generator)
    latents = data.mean[rows] + data.std[rows] * noise[0]
    kept = torch.rand(config.batch_size, generator=generator) >= config.caption_dropout
    timesteps = stratified_timesteps(config.batch_size, num_train_timesteps, generator)
    return Batch(latents=latents, noise=noise[1], timesteps=timesteps, prompt_ids=prompt_ids[rows] * kept)


def denoising_loss(
    denoise: Denoise,
    scheduler: SchedulerMixin,
    batch: Batch,
    conditioning: Conditioning,
    min_snr_gamma: float | None,
) -> Float[Tensor, ""]:
    """Squared error of the denoiser's prediction, weighted by noise level."""
    device = conditioning.prompt_embeds.device
    latents, noise, timesteps = batch.latents.to(device), batch.noise.to(device), batch.timesteps.to(device)
    alphas = scheduler.alphas_cumprod.to(device)[timesteps]
    kind = scheduler.config.prediction_type
    prediction = denoise(noised(latents, noise, alphas), timesteps, conditioning)
    error = (prediction - target(latents, noise, alphas, kind)).square().mean((1, 2, 3))
    loss: Tensor = (min_snr_weights(alphas, kind, min_snr_gamma) * error).mean()
    return loss


def unique_prompts(prompt_ids: Int[Tensor, " n"], n_prompts: int) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """The prompts to encode, and the row of each sample's among them: all where they are few, else the batch's own."""
    if n_prompts <= len(prompt_ids):
        return torch.arange(n_prompts), prompt_ids
    encoded, rows = torch.unique(prompt_ids, return_inverse=True)
    return encoded, rows


def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the model's, in place."""
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
