"""The noise of DPM++ SDE: a Brownian path an image, from the image's own seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

_BELOW, _ABOVE = 0.99, 1.01  # a path is longer than the noise levels, as rounding may put these outside it


def seed_brownian_paths(
    scheduler: Any,  # noqa: ANN401 - diffusers has no common type
    latents: Float[Tensor, "n c h w"],
    seeds: Sequence[int],
) -> None:
    """Give the scheduler, whose timesteps are set, one path per image.

    Diffusers' default is one path for the whole batch. Paths are drawn on the CPU, so that a seed means the same image
    on every device.
    """
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler  # noqa: PLC0415 - an extra

    least, most = scheduler.sigmas[scheduler.sigmas > 0].min().item(), scheduler.sigmas.max().item()
    path = BrownianTreeNoiseSampler(latents.cpu(), least * _BELOW, most * _ABOVE, list(seeds))

    def noise(sigma: Tensor, sigma_next: Tensor) -> Float[Tensor, "n c h w"]:
        drawn: Tensor = path(sigma, sigma_next)
        return drawn.to(latents.device)

    scheduler.noise_sampler = noise
