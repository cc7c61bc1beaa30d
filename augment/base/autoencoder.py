"""Trains the autoencoder of a tiny model.

Latents have to be centred and of unit variance channel by channel, for which the Stable Diffusion pipeline has no
setting: after training, the statistics are folded into the autoencoder's 1x1 convolutions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from augment.base.autoencoder_augmentation import color_jitter, dead_leaves, random_flip_and_turn
from augment.device import pretraining_autocast
from augment.training.checkpoint import Checkpoint
from augment.training.lr_schedule import warm_cosine
from data.config import STRICT
from data.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffusers import AutoencoderKL

    from data.progress import Progress


Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AutoencoderConfig:
    """How the autoencoder of a tiny model is trained."""

    steps: Positive = 6000
    batch_size: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    edge_weight: Weight = 1.0  # of the L1 of the images' gradients, beside that of the pixels
    kl_weight: Weight = 1e-5  # of the KL term, per latent number
    color_jitter: Share = 0.6  # share of the images with other hue and saturation
    dead_leaves: Share = 0.5  # share of the images with random ellipses laid over them
    compile: bool = False  # pays on a long run only
    checkpointing_steps: Positive = 500


def train_autoencoder(
    *,
    vae: AutoencoderKL,
    images: UInt8[np.ndarray, "n height width 3"],
    config: AutoencoderConfig,
    checkpoint: Checkpoint,
    seed: int,
    progress: Progress,
) -> None:
    """Train in place, resuming from the checkpoint if there is one; the note of `progress` is the loss.

    Loss: L1 of pixels and of their gradients, and a small KL term. Raises TrainingError for a loss that is not finite.
    """
    vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.99))
    lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(config.steps, warmup=100))
    parts = {"vae": vae, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
    first = checkpoint.restore(parts)
    loss_of = torch.compile(reconstruction_loss) if config.compile else reconstruction_loss
    for step in range(first, config.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)  # one per step, so that resuming is exact
        pixels = sample_batch(images, config, generator)
        noise = torch.randn(latent_shape(vae, pixels), generator=generator).to(vae.device)
        pixels = pixels.to(vae.device)
        with pretraining_autocast(vae.device):
            loss = loss_of(vae, pixels, noise, config.edge_weight, config.kl_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        lr_scheduler.step()
        if not math.isfinite(loss.item()):
            raise TrainingError(f"autoencoder: the loss is {loss.item()} at step {step + 1}; lower its learning_rate")
        progress(step + 1, config.steps, f"loss {loss.item():.3f}")
        if (step + 1) % config.checkpointing_steps == 0 or step + 1 == config.steps:
            checkpoint.save(step + 1, parts)
    vae.eval()


def sample_batch(
    images: UInt8[np.ndarray, "n height width 3"], config: AutoencoderConfig, generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """A batch of augmented images, pixels in [-1, 1]."""
    chosen = torch.randint(len(images), (config.batch_size,), generator=generator).numpy()
    pixels = random_flip_and_turn(as_tensor(images[np.sort(chosen)]), generator)
    pixels = color_jitter(pixels, config.color_jitter, generator)
    return dead_leaves(pixels, config.dead_leaves, generator)


def reconstruction_loss(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 height width"],
    noise: Float[Tensor, "n channels h w"],
    edge_weight: float,
    kl_weight: float,
) -> Float[Tensor, ""]:
    """L1 of pixels in [-1, 1], plus L1 of their gradients, plus KL to a standard normal per latent number."""
    mean, log_variance = vae.quant_conv(vae.encoder(pixels)).float().chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 10)
    decoded = vae.decoder(vae.post_quant_conv(mean + noise * torch.exp(log_variance / 2))).float()
    error = decoded - pixels
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    loss: Tensor = error.abs().mean() + edge_weight * edges + kl_weight * divergence
    return loss


def as_tensor(images: UInt8[np.ndarray, "n height width 3"]) -> Float[Tensor, "n 3 height width"]:
    """Pixels in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return tensor.float() / 127.5 - 1


def centre_latents(vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"], batch_size: int = 64) -> None:
    """Fold each latent channel's mean and standard deviation into the 1x1 convolutions; the images stay the same."""
    means = torch.cat([moments(vae, images[i : i + batch_size])[0] for i in range(0, len(images), batch_size)])
    mu, sigma = means.mean((0, 2, 3)).to(vae.device), means.std((0, 2, 3)).to(vae.device)
    with torch.no_grad():
        weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
        channels = len(mu)
        weight[:channels] /= sigma[:, None, None, None]
        bias[:channels] = (bias[:channels] - mu) / sigma
        bias[channels:] -= 2 * sigma.log()
        post = vae.post_quant_conv
        post.bias += (post.weight[:, :, 0, 0] @ mu).to(post.bias)
        post.weight *= sigma[None, :, None, None]


@torch.inference_mode()
def moments(
    vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"]
) -> tuple[Float[Tensor, "n channels h w"], Float[Tensor, "n channels h w"]]:
    """Mean and standard deviation of the latents' posterior."""
    with pretraining_autocast(vae.device):
        pixels = as_tensor(images).contiguous(memory_format=torch.channels_last).to(vae.device)
        posterior = vae.encode(pixels).latent_dist
    return posterior.mean.float().cpu(), posterior.std.float().cpu()


def psnr(vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"]) -> list[float]:
    """Peak signal-to-noise ratio of each image's reconstruction, dB."""
    decoded = torch.cat(list(_encode_and_decode(vae, images)))
    errors = (decoded.cpu() - as_tensor(images)).square().mean((1, 2, 3)) / 4
    return [float(x) for x in -10 * torch.log10(errors.clamp(min=1e-10))]


@torch.inference_mode()
def _encode_and_decode(
    vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"], chunk: int = 64
) -> Iterator[Float[Tensor, "m 3 height width"]]:
    """Reconstructions from the posterior's mean, in [-1, 1], `chunk` images at a time."""
    for start in range(0, len(images), chunk):
        pixels = as_tensor(images[start : start + chunk]).to(vae.device, vae.dtype)
        yield vae.decode(vae.encode(pixels).latent_dist.mean).sample.float().clamp(-1, 1)


def latent_shape(vae: AutoencoderKL, pixels: Tensor) -> tuple[int, int, int, int]:
    """Shape of the latents of a batch."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return (len(pixels), vae.config.latent_channels, pixels.shape[2] // factor, pixels.shape[3] // factor)
