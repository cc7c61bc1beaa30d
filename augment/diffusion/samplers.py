"""Schedulers of the named samplers, set up on a base's own noise schedule."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import Any

from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from torch import Tensor

from augment.diffusion.sampler_names import NamedSampler, sampler_named
from augment.diffusion.sampler_table import SPACINGS, SpacingOptions
from data.errors import ConfigError


def build_scheduler(pipe: StableDiffusionPipeline, sampler: str) -> Any:  # noqa: ANN401 - diffusers has no common type
    """A sampler's scheduler for the base's own noise schedule, before its timesteps are set. Raises ConfigError.

    A v-predicting base can be evaluated at pure noise, so its timesteps start there ("trailing", Lin et al. 2023).
    """
    named, config = sampler_named(sampler), pipe.scheduler.config
    require_package(named)
    own = SPACINGS["trailing"].options if config.prediction_type == "v_prediction" else {}
    options = {**own, **_without_flags(named), **named.row.options, **_spacing_options(named)}
    return named.row.scheduler.from_config(config, **options)


def scheduler_for(pipe: StableDiffusionPipeline, sampler: str, steps: int) -> Any:  # noqa: ANN401 - diffusers has no common type
    """A sampler's scheduler with its timesteps set, on the CPU, so that no step waits for a device.

    Raises ConfigError for a number of steps that diffusers cannot space.
    """
    scheduler, timesteps = build_scheduler(pipe, sampler), _spacing(sampler_named(sampler)).timesteps
    if timesteps is None:
        scheduler.set_timesteps(steps)
    else:
        found = timesteps(scheduler.alphas_cumprod, steps)
        if len(found) < steps:
            raise ConfigError(f"{sampler} has {len(found)} different timesteps of {steps}; take fewer steps")
        scheduler.set_timesteps(timesteps=found)
    if (scheduler.timesteps < 0).any():  # 1000 / steps is rounded, and "trailing" goes one too far
        raise ConfigError(f"diffusers spaces {steps} steps beyond the last timestep; take {steps - 1} or {steps + 1}")
    return scheduler


def alphas_cumprod(pipe: StableDiffusionPipeline) -> Float[Tensor, " timesteps"]:
    """The base's noise schedule: the share of the clean latents' variance at each timestep."""
    alphas: Tensor = build_scheduler(pipe, "dpm++-2m").alphas_cumprod
    return alphas


def sampler_identity(named: NamedSampler) -> dict[str, object]:
    """What images depend on beside diffusers, as plain JSON. Raises ConfigError for a package that is not installed."""
    require_package(named)
    package = named.row.package
    versions = {} if package is None else {package: version(package)}
    return {"sampler": named.name, "sigmas": named.spacing, **versions}


def require_package(named: NamedSampler) -> None:
    """Raise ConfigError for a sampler whose scheduler needs a package that is not installed."""
    package = named.row.package
    if package is not None and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"sampler {named.name} needs {package}, which is not installed; "
            f"uv pip install --python .venv {package}, the extra `sde`, or take dpm++-2m-sde"
        )


def _spacing(named: NamedSampler) -> SpacingOptions:
    return SpacingOptions() if named.spacing is None else SPACINGS[named.spacing]


def _without_flags(named: NamedSampler) -> dict[str, object]:
    """Options that turn off every spacing that the scheduler takes: a base's own scheduler config may have one on."""
    flags = (SPACINGS[spacing].flag for spacing in named.row.spacings)
    return {flag: False for flag in flags if flag is not None}


def _spacing_options(named: NamedSampler) -> dict[str, object]:
    chosen = _spacing(named)
    return {**chosen.options, **({} if chosen.flag is None else {chosen.flag: True})}
