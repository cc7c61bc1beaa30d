"""The loss of held-out images, which a benchmark compares before and after a fine-tune."""

import torch
from jaxtyping import Float
from torch import Tensor

from augment import device as devices
from augment.diffusion import objective
from augment.diffusion.conditioning import Conditioning, encode_prompts
from augment.diffusion.samplers import alphas_cumprod
from augment.methods.contract import Trainable


@torch.no_grad()
def held_out_loss(
    trainable: Trainable,
    prompt: str,
    latents: Float[Tensor, "n c h w"],
    condition: Float[Tensor, "n 3 H W"] | None = None,
) -> float:
    """The mean error of latents, each at one of evenly spread timesteps; noise and timesteps are always the same."""
    generator = torch.Generator().manual_seed(0)
    device, alphas = trainable.pipe.unet.device, alphas_cumprod(trainable.pipe)
    timesteps = objective.stratified_timesteps(len(latents), len(alphas), generator)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = objective.noised(latents, noise, alphas[timesteps]).to(device)
    with devices.autocast(device):
        embeds = encode_prompts(trainable.pipe, [prompt]).expand(len(latents), -1, -1)
        conditioning = Conditioning(embeds, None if condition is None else condition.to(device))
        noise_pred = trainable.denoise(noisy, timesteps.to(device), conditioning)
    kind = trainable.pipe.scheduler.config.prediction_type
    return (noise_pred.cpu() - objective.target(latents, noise, alphas[timesteps], kind)).square().mean().item()
