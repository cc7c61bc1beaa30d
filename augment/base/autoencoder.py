"""Trains the autoencoder of a compact base.

Two things matter more than the loss. Colours and shapes beyond the training set's (a rare class may have
purple lakes where all the common ones are brown): hues are turned and soft discs laid over at random.
And latents that are centred and of unit size channel by channel, which the SD pipeline has no setting
for: the statistics are folded into the autoencoder's 1x1 convolutions afterwards.
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

from augment.checkpoint import Checkpoint
from augment.device import pretraining_autocast
from augment.lr_schedule import warm_cosine
from data.config import STRICT
from data.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffusers import AutoencoderKL


Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AutoencoderConfig:
    """How the autoencoder of a compact base is trained."""

    steps: Positive = 6000
    batch_size: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    edge_weight: Weight = 1.0  # of the difference of neighbouring pixels, beside the pixels' own
    kl_weight: Weight = 1e-5  # a latent number
    recolour: Share = 0.6  # share of the images whose hue is turned
    leaves: Share = 0.5  # share of the images on which discs of any colour are laid
    compile: bool = False  # pays on a long run only
    checkpoint_every: Positive = 500  # steps


def train_autoencoder(
    vae: AutoencoderKL,
    images: UInt8[np.ndarray, "n height width 3"],
    config: AutoencoderConfig,
    checkpoint: Checkpoint,
    seed: int,
    progress: Callable[[int, int, float], None],
) -> None:
    """Train in place, resuming from the checkpoint if there is one.

    Loss: L1 of pixels and of their gradients, and a slight KL term. Raises TrainingError for a loss
    that is no number.
    """
    vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(config.steps, warmup=100))
    parts = {"vae": vae, "optimizer": optimizer, "schedule": schedule}
    first = checkpoint.restore(parts)
    loss_of = torch.compile(reconstruction_loss) if config.compile else reconstruction_loss
    for step in range(first, config.steps):
        generator = torch.Generator().manual_seed(
            seed * 1_000_003 + step
        )  # a step's own, so that resuming changes nothing
        chosen = torch.randint(len(images), (config.batch_size,), generator=generator).numpy()
        pixels = varied(as_tensor(images[np.sort(chosen)]), config.recolour, generator)
        pixels = strewn(pixels, config.leaves, generator)
        noise = torch.randn(latent_shape(vae, pixels), generator=generator)
        with pretraining_autocast(vae.device):
            loss = loss_of(vae, pixels, noise, config.edge_weight, config.kl_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if not math.isfinite(loss.item()):
            raise TrainingError(f"autoencoder: the loss is {loss.item()} at step {step + 1}; lower its learning_rate")
        progress(step + 1, config.steps, loss.item())
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            checkpoint.save(step + 1, parts)
    vae.eval()


def reconstruction_loss(
    vae: AutoencoderKL,
    pixels: Float[Tensor, "n 3 height width"],
    noise: Float[Tensor, "n channels h w"],
    edge_weight: float,
    kl_weight: float,
) -> Float[Tensor, ""]:
    """L1 of pixels in [-1, 1], L1 of their gradients, and KL to a standard normal a latent number."""
    mean, log_variance = vae.quant_conv(vae.encoder(pixels)).float().chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 10)
    drawn = vae.decoder(vae.post_quant_conv(mean + noise * torch.exp(log_variance / 2))).float()
    error = drawn - pixels
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    loss: Tensor = error.abs().mean() + edge_weight * edges + kl_weight * divergence
    return loss


def as_tensor(images: UInt8[np.ndarray, "n height width 3"]) -> Float[Tensor, "n 3 height width"]:
    """Pixels in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return tensor.float() / 127.5 - 1


def varied(
    pixels: Float[Tensor, "n 3 height width"], recolour: float, generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Flip and turn the batch, and turn the hue of a share of its images."""
    flips, turns = torch.randint(2, (1,), generator=generator), torch.randint(4, (1,), generator=generator)
    pixels = torch.rot90(pixels.flip(3) if flips else pixels, int(turns), (2, 3))
    matrices = torch.stack([_hue_matrix(generator, recolour) for _ in range(len(pixels))])
    return torch.einsum("nij,njhw->nihw", matrices, pixels).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def strewn(
    pixels: Float[Tensor, "n 3 height width"], share: float, generator: torch.Generator, most: int = 12
) -> Float[Tensor, "n 3 height width"]:
    """Lay up to `most` discs of any size, colour and opacity over a share of the images.

    Such "dead leaves" are a fair stand-in for whatever a photograph may hold (Lee, Mumford and Huang,
    Int. J. Comput. Vis. 41, 2001; Baradad et al., NeurIPS 2021).
    """
    n, _, height, width = pixels.shape
    chance, centre_y, centre_x, size, flatness, turn, opacity, hardness = torch.rand((8, n, most), generator=generator)
    colours = 2 * torch.rand((most, n, 3, 1, 1), generator=generator) - 1
    laid = chance < torch.rand((n, 1), generator=generator) * (torch.rand((n, 1), generator=generator) < share)
    radius = height / 4 * 16**-size  # a quarter of the image to a sixty-fourth, log-uniform
    down = torch.arange(height)[:, None] - (centre_y * height)[..., None, None]
    across = torch.arange(width) - (centre_x * width)[..., None, None]
    cos, sin = (f(math.pi * turn)[..., None, None] for f in (torch.cos, torch.sin))
    along, athwart = cos * across + sin * down, cos * down - sin * across
    distance = (along.square() + (athwart * (1 + 2 * flatness[..., None, None])).square()).sqrt()
    inside = torch.sigmoid((radius[..., None, None] - distance) * (0.5 + 3 * hardness[..., None, None]))
    for weight, colour in zip(((laid * opacity)[..., None, None] * inside).unbind(1), colours, strict=True):
        pixels = torch.lerp(pixels, colour.expand_as(pixels), weight[:, None])
    return pixels.contiguous(memory_format=torch.channels_last)


def centre_latents(vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"], batch_size: int = 64) -> None:
    """Fold each latent channel's mean and size into the 1x1 convolutions: same images, unit latents."""
    means = torch.cat([moments(vae, images[i : i + batch_size])[0] for i in range(0, len(images), batch_size)])
    mu, sigma = means.mean((0, 2, 3)), means.std((0, 2, 3))
    with torch.no_grad():
        weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
        channels = len(mu)
        weight[:channels] /= sigma[:, None, None, None]
        bias[:channels] = (bias[:channels] - mu) / sigma
        bias[channels:] -= 2 * sigma.log()
        after = vae.post_quant_conv
        after.bias += (after.weight[:, :, 0, 0] @ mu).to(after.bias)
        after.weight *= sigma[None, :, None, None]


@torch.inference_mode()
def moments(
    vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"]
) -> tuple[Float[Tensor, "n channels h w"], Float[Tensor, "n channels h w"]]:
    """Mean and standard deviation of the latents' posterior."""
    with pretraining_autocast(vae.device):
        posterior = vae.encode(as_tensor(images).contiguous(memory_format=torch.channels_last)).latent_dist
    return posterior.mean.float(), posterior.std.float()


def reconstructed(
    vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"]
) -> UInt8[np.ndarray, "n height width 3"]:
    """Each image as the autoencoder gives it back."""
    drawn = torch.cat(list(_there_and_back(vae, images)))
    bytes_ = (drawn / 2 + 0.5).mul(255).round().to(torch.uint8)
    return bytes_.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def psnr(vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"]) -> list[float]:
    """Peak signal-to-noise ratio of each image's reconstruction, dB."""
    drawn = torch.cat(list(_there_and_back(vae, images)))
    errors = (drawn.cpu() - as_tensor(images)).square().mean((1, 2, 3)) / 4
    return [float(x) for x in -10 * torch.log10(errors.clamp(min=1e-10))]


@torch.inference_mode()
def _there_and_back(
    vae: AutoencoderKL, images: UInt8[np.ndarray, "n height width 3"], chunk: int = 64
) -> Iterator[Float[Tensor, "m 3 height width"]]:
    """Reconstructions from the posterior's mean, from -1 to 1, `chunk` at a time."""
    for start in range(0, len(images), chunk):
        pixels = as_tensor(images[start : start + chunk]).to(vae.device, vae.dtype)
        yield vae.decode(vae.encode(pixels).latent_dist.mean).sample.float().clamp(-1, 1)


def latent_shape(vae: AutoencoderKL, pixels: Tensor) -> tuple[int, int, int, int]:
    """Shape of the latents of a batch."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return (len(pixels), vae.config.latent_channels, pixels.shape[2] // factor, pixels.shape[3] // factor)


def _hue_matrix(generator: torch.Generator, share: float) -> Float[Tensor, "3 3"]:
    """Rotation about the grey axis by any angle, with other saturation; the identity for the rest."""
    chance, angle, saturation = torch.rand(3, generator=generator).tolist()
    if chance >= share:
        return torch.eye(3)
    turn = (angle - 0.5) * 2 * math.pi * (0.25 if chance < share / 2 else 1.0)
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = grey + math.cos(turn) * (torch.eye(3) - grey) + math.sin(turn) * cross
    turned: Tensor = grey + (0.7 + 0.8 * saturation) * (rotation - grey)
    return turned
