"""The training objective: timesteps, noisy latents, targets and loss weights, as functions of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def stratified_timesteps(n: int, total: int, generator: torch.Generator) -> Int[Tensor, " {n}"]:
    """One timestep from each n-th part of 0..total-1, in random order; the gradient's variance is lower than with
    independent timesteps.
    """
    strata = torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)
    return (strata * (total / n)).long().clamp_(max=total - 1)


def noised(
    clean: Float[Tensor, "n c h w"], noise: Float[Tensor, "n c h w"], alphas_cumprod: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """sqrt(a) x + sqrt(1 - a) eps. Ho et al. 2020, eq. 4."""
    alpha, sigma = _alpha_sigma(alphas_cumprod)
    return alpha * clean + sigma * noise


def target(
    clean: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    alphas_cumprod: Float[Tensor, " n"],
    prediction_type: str,
) -> Float[Tensor, "n c h w"]:
    """The denoiser's target: the noise, or the velocity alpha eps - sigma x (Salimans and Ho 2022, app. D)."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        alpha, sigma = _alpha_sigma(alphas_cumprod)
        return alpha * noise - sigma * clean
    raise ValueError(f"prediction_type {prediction_type!r} is neither epsilon nor v_prediction")


def min_snr_weights(
    alphas_cumprod: Float[Tensor, " n"], prediction_type: str, gamma: float | None
) -> Float[Tensor, " n"]:
    """Weights of the prediction's squared error that give the clean latents' error the weight min(SNR, gamma).

    gamma None: all 1. Hang et al. 2023, section 3.4. With v-prediction the noisiest timesteps, which decide an image's
    colours, get a weight near 0.
    """
    if gamma is None:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / (snr if prediction_type == "epsilon" else snr + 1)


def _alpha_sigma(alphas_cumprod: Float[Tensor, " n"]) -> tuple[Float[Tensor, "n 1 1 1"], Float[Tensor, "n 1 1 1"]]:
    column = alphas_cumprod[:, None, None, None]
    return column.sqrt(), (1 - column).sqrt()
