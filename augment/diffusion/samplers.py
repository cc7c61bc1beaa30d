"""The tables of samplers, which are diffusers' schedulers and their options, and of presets, which users choose.

The presets `quality` and `fast` work on every base. `few-step` needs a LoRA that was distilled for few steps; each kind
of these was distilled for one sampler.

`fast` uses the timesteps of Align Your Steps on Stable Diffusion 1.x, and Karras' noise levels elsewhere: of nine
spacings of ten steps those ended nearest to 80 steps on the embedded base, at 1.1 grey levels (root mean square)
against 1.7 for evenly spaced ones and 0.8 for twenty of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    TCDScheduler,
)
from diffusers.schedulers import AysSchedules
from jaxtyping import Float
from torch import Tensor

PresetName = Literal["quality", "fast", "few-step"]
FewStepKind = Literal["lcm", "tcd", "hyper-sd"]

# Sabour et al. 2024, "Align Your Steps", Stable Diffusion 1.5; the last level is left for 0 at one step more.
ALIGN_YOUR_STEPS: tuple[int, ...] = tuple(AysSchedules["StableDiffusionTimesteps"])
_SD1_TEXT_WIDTH = 768  # of Stable Diffusion 1.x; 2.x has 1024


def align_your_steps(alphas_cumprod: Float[Tensor, " timesteps"], steps: int) -> list[int]:
    """Timesteps of Align Your Steps, descending; for counts other than ten interpolated in log sigma."""
    if steps == len(ALIGN_YOUR_STEPS):
        return list(ALIGN_YOUR_STEPS)
    log_sigmas = torch.log(((1 - alphas_cumprod) / alphas_cumprod).sqrt()).double().numpy()
    table = np.array([*log_sigmas[list(ALIGN_YOUR_STEPS)], log_sigmas[0]])
    wanted = np.interp(np.linspace(0, len(ALIGN_YOUR_STEPS), steps + 1)[:-1], np.arange(len(table)), table)
    found = np.interp(wanted, log_sigmas, np.arange(len(log_sigmas))).round().astype(int)
    return sorted({int(timestep) for timestep in found}, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A scheduler of diffusers and how it is set up on any base."""

    solver: str  # the name in records and reports, which does not depend on the timesteps
    scheduler: Any  # a class of diffusers, which has no common type
    options: Mapping[str, object] = field(default_factory=dict)  # laid over the base's own scheduler config
    takes_generator: bool = True  # whether its step has the argument
    timesteps: Callable[[Tensor, int], list[int]] | None = None  # of alphas_cumprod and steps; None: the scheduler's


_DPM: dict[str, object] = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    # A base's own scheduler config may set these; a sampler means the same noise levels on every base.
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "final_sigmas_type": "zero",
}
_TRAILING: dict[str, object] = {"timestep_spacing": "trailing"}

SAMPLERS: dict[str, Sampler] = {
    "dpmsolver++2m": Sampler(solver="dpmsolver++2m", scheduler=DPMSolverMultistepScheduler, options=_DPM),
    "dpmsolver++2m-karras": Sampler(
        solver="dpmsolver++2m", scheduler=DPMSolverMultistepScheduler, options={**_DPM, "use_karras_sigmas": True}
    ),
    "dpmsolver++2m-ays": Sampler(
        solver="dpmsolver++2m", scheduler=DPMSolverMultistepScheduler, options=_DPM, timesteps=align_your_steps
    ),
    "lcm": Sampler(solver="lcm", scheduler=LCMScheduler),
    "tcd": Sampler(solver="tcd", scheduler=TCDScheduler),
    "ddim": Sampler(solver="ddim", scheduler=DDIMScheduler, options={**_TRAILING, "clip_sample": False}),
}
# The sampler that each kind of few-step LoRA was distilled for; ddim is set up as Hyper-SD's authors do.
FEW_STEP_SAMPLERS: dict[FewStepKind, str] = {"lcm": "lcm", "tcd": "tcd", "hyper-sd": "ddim"}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Defaults of the settings that the config does not set."""

    steps: int
    guidance_scale: float  # 1 = none
    guidance_end: float  # share of the steps, from the first, with guidance
    max_steps: int | None = None
    sampler: str | None = None  # None: the one that the few-step LoRA was distilled for
    sampler_sd1: str | None = None  # on Stable Diffusion 1.x, if it is another one there


PRESETS: dict[PresetName, Preset] = {  # a config's own `generate.steps` and the like go before these
    "quality": Preset(steps=20, guidance_scale=2.0, guidance_end=1.0, sampler="dpmsolver++2m"),
    "fast": Preset(  # beyond 50 steps noise levels coincide
        steps=10,
        guidance_scale=2.0,
        guidance_end=0.5,
        max_steps=50,
        sampler="dpmsolver++2m-karras",
        sampler_sd1="dpmsolver++2m-ays",
    ),
    # guidance is distilled into the LoRA
    "few-step": Preset(steps=4, guidance_scale=1.0, guidance_end=1.0, max_steps=8),
}


def build_scheduler(pipe: StableDiffusionPipeline, sampler: str) -> Any:  # noqa: ANN401 - diffusers has no common type
    """A sampler's scheduler for the base's own noise schedule, before its timesteps are set.

    A v-predicting base can be evaluated at pure noise, so its timesteps start there ("trailing", Lin et al. 2023).
    """
    row, config = SAMPLERS[sampler], pipe.scheduler.config
    spacing = _TRAILING if config.prediction_type == "v_prediction" else {}
    return row.scheduler.from_config(config, **{**spacing, **row.options})


def scheduler_for(pipe: StableDiffusionPipeline, sampler: str, steps: int) -> Any:  # noqa: ANN401 - diffusers has no common type
    """A sampler's scheduler with its timesteps set, on the CPU, so that no step waits for a device."""
    scheduler, timesteps = build_scheduler(pipe, sampler), SAMPLERS[sampler].timesteps
    if timesteps is None:
        scheduler.set_timesteps(steps)
    else:
        scheduler.set_timesteps(timesteps=timesteps(scheduler.alphas_cumprod, steps))
    return scheduler


def preset_sampler(pipe: StableDiffusionPipeline, preset: PresetName, few_step: FewStepKind | None = None) -> str:
    """The name of a preset's sampler for a base; `few_step` is the kind of the few-step LoRA, None: there is none."""
    row = PRESETS[preset]
    if row.sampler is None:
        if few_step is None:
            raise ValueError(f"preset {preset} has no sampler without the kind of a few-step LoRA")
        return FEW_STEP_SAMPLERS[few_step]
    return row.sampler_sd1 if row.sampler_sd1 and is_stable_diffusion_1(pipe) else row.sampler


def alphas_cumprod(pipe: StableDiffusionPipeline) -> Float[Tensor, " timesteps"]:
    """The base's noise schedule: the share of the clean latents' variance at each timestep."""
    alphas: Tensor = build_scheduler(pipe, "dpmsolver++2m").alphas_cumprod
    return alphas


def is_stable_diffusion_1(pipe: StableDiffusionPipeline) -> bool:
    """Whether the base is what the table of Align Your Steps was searched on, by its noise schedule and text width."""
    config = pipe.scheduler.config
    noise = (config.beta_schedule, config.beta_start, config.beta_end, config.num_train_timesteps)
    return (
        config.prediction_type == "epsilon"
        and noise == ("scaled_linear", 0.00085, 0.012, 1000)
        and pipe.unet.config.cross_attention_dim == _SD1_TEXT_WIDTH
    )
