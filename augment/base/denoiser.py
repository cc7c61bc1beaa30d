"""Trains the denoiser and the text encoder of a compact base on cached latents."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment import device
from augment.diffusion.objective import min_snr_weights, noised, stratified_timesteps, target
from augment.lr_schedule import warm_cosine
from data.config import STRICT
from data.errors import TrainingError

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from augment.checkpoint import Checkpoint, Stateful

_log = logging.getLogger(__name__)


Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DenoiserConfig:
    """How the denoiser of a compact base is trained."""

    steps: Positive = 4500
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0)] = 6e-4
    min_snr: Annotated[float, Field(gt=0)] | None = (
        None  # None: every noise level weighs the same in the velocity's error
    )
    unprompted: Annotated[float, Field(ge=0, le=1)] = 0.1  # share of the batch with an empty prompt, for guidance
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999  # a step
    checkpoint_every: Positive = 250  # steps


def train_denoiser(
    pipe: StableDiffusionPipeline,
    mean: Float[Tensor, "n channels h w"],
    std: Float[Tensor, "n channels h w"],
    prompts: Sequence[str],
    config: DenoiserConfig,
    checkpoint: Checkpoint,
    seed: int,
    progress: Callable[[int, int, float], None],
    weights: Float[Tensor, " n"] | None = None,
) -> None:
    """Train UNet and text encoder in place and leave their moving averages in the pipe.

    `mean, std` are the latents' posterior, `prompts[i]` goes with `mean[i]` and `weights[i]`, how often it is
    drawn (None: all alike); resumes from the checkpoint. Raises TrainingError for a loss that is no number.
    """
    where = device.device()
    model = nn.ModuleDict({"unet": pipe.unet, "text": pipe.text_encoder}).train().to(where)
    pipe.unet.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(requires_grad=False)
    if device.compiles(where):
        pipe.unet.compile()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(config.steps, warmup=200))
    parts: dict[str, Stateful] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = checkpoint.restore(parts)
    texts = list(dict.fromkeys(["", *prompts]))
    tokens = _tokens(pipe, texts)
    row = {text: index for index, text in enumerate(texts)}
    number = torch.tensor([row[prompt] for prompt in prompts])
    for step in range(first, config.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = _drawn(len(mean), config.batch_size, weights, generator)
        noise = torch.randn((2, *mean[chosen].shape), generator=generator)
        latents = mean[chosen] + std[chosen] * noise[0]
        kept = torch.rand(config.batch_size, generator=generator) >= config.unprompted
        times = stratified_timesteps(config.batch_size, pipe.scheduler.config.num_train_timesteps, generator)
        heard, told = _heard(number[chosen] * kept, len(texts))
        with device.autocast(where):
            embedded = pipe.text_encoder(tokens[heard].to(where)).last_hidden_state[told.to(where)]
            loss = denoising_loss(
                pipe, latents.to(where), noise[1].to(where), times.to(where), embedded, config.min_snr
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if not math.isfinite(loss.item()):
            raise TrainingError(f"denoiser: the loss is {loss.item()} at step {step + 1}; lower its learning_rate")
        _follow(average, model, min(config.ema, (1 + step) / (10 + step)))
        progress(step + 1, config.steps, loss.item())
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            checkpoint.save(step + 1, parts)
    model.load_state_dict(average.state_dict())
    model.eval()


def denoising_loss(
    pipe: StableDiffusionPipeline,
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    times: Int[Tensor, " n"],
    embedded: Float[Tensor, "n tokens width"],
    min_snr: float | None,
) -> Float[Tensor, ""]:
    """Squared error of what the denoiser says, weighted by noise level."""
    alphas = pipe.scheduler.alphas_cumprod.to(times.device)[times]
    kind = pipe.scheduler.config.prediction_type
    noisy = noised(latents, noise, alphas).contiguous(memory_format=torch.channels_last)
    predicted = pipe.unet(noisy, times, embedded).sample.float()
    error = (predicted - target(latents, noise, alphas, kind)).square().mean((1, 2, 3))
    loss: Tensor = (min_snr_weights(alphas, kind, min_snr) * error).mean()
    return loss


def _drawn(
    n: int, batch_size: int, weights: Float[Tensor, " n"] | None, generator: torch.Generator
) -> Int[Tensor, " {batch_size}"]:
    if weights is None:
        return torch.randint(n, (batch_size,), generator=generator)
    return torch.multinomial(weights, batch_size, replacement=True, generator=generator)


def _tokens(pipe: StableDiffusionPipeline, texts: Sequence[str]) -> Int[Tensor, "n tokens"]:
    """What the text encoder reads of each prompt; one that it would not read to its end is told of."""
    tokenizer = pipe.tokenizer
    room = tokenizer.model_max_length
    longest = max(texts, key=lambda text: len(tokenizer(text).input_ids))
    if len(tokenizer(longest).input_ids) > room:
        _log.warning("the base reads %d tokens of a prompt, which cuts the end off %r", room, longest)
    tokens: Tensor = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return tokens


def _heard(numbers: Int[Tensor, " n"], texts: int) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """The texts to encode, and which of these goes with each sample: all where they are few, else the batch's own."""
    if texts <= len(numbers):
        return torch.arange(texts), numbers
    heard, told = torch.unique(numbers, return_inverse=True)
    return heard, told


def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
