"""Which noise levels are visited and by which solver: the schedules `quality`, `fast` and `draft`.

`quality` and `fast` ask nothing but the base. `draft` needs an update that was distilled for few steps, and each
kind of these was made for one solver.

`fast` takes the levels of Align Your Steps on Stable Diffusion 1.x, and Karras' elsewhere: of nine spacings of ten
steps those ended nearest to 80 steps on the embedded base, at 1.1 grey levels (root mean square) against 1.7 for
evenly spaced ones and 0.8 for twenty of these.
"""

from __future__ import annotations

from dataclasses import dataclass
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

Schedule = Literal["quality", "fast", "draft"]
Distilled = Literal["lcm", "tcd", "hyper-sd"]
Levels = Literal["quality", "fast", "lcm", "tcd", "hyper-sd"]  # a schedule, or the kind of a draft's update

# Sabour et al. 2024, "Align Your Steps", Stable Diffusion 1.5; the last level is left for 0 at one step more.
ALIGNED: tuple[int, ...] = tuple(AysSchedules["StableDiffusionTimesteps"])
# What a base's own scheduler may ask for, and a schedule then would mean something else on it.
_PLAIN = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "final_sigmas_type": "zero",
}
_TEXT_WIDTH = 768  # of Stable Diffusion 1.x; 2.x has 1024


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a schedule means where the config says nothing else."""

    steps: int
    guidance: float
    guidance_until: float


PRESETS: dict[Schedule, Preset] = {
    "quality": Preset(steps=20, guidance=2.0, guidance_until=1.0),
    "fast": Preset(steps=10, guidance=2.0, guidance_until=0.5),
    "draft": Preset(steps=4, guidance=1.0, guidance_until=1.0),  # guidance is distilled into the update
}
MOST_STEPS: dict[Schedule, int] = {"fast": 50, "draft": 8}  # beyond, levels coincide, or the update was not made for it
NAMES: dict[Levels, str] = {
    "quality": "dpmsolver++2m",
    "fast": "dpmsolver++2m",
    "lcm": "lcm",
    "tcd": "tcd",
    "hyper-sd": "ddim",
}


def solver(pipe: StableDiffusionPipeline) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ 2M over the base's own noise schedule, its levels spaced as no other setting of the base says.

    So a schedule means the same levels on every base, and a table of levels can be given.
    A v-predicting base may be asked at pure noise, so its steps start there ("trailing", Lin et al. 2023).
    """
    spacing = {"timestep_spacing": "trailing"} if pipe.scheduler.config.prediction_type == "v_prediction" else {}
    return DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint", **_PLAIN, **spacing
    )


def alphas_cumprod(pipe: StableDiffusionPipeline) -> Float[Tensor, " timesteps"]:
    """The base's noise schedule: the share of the signal's variance that is left at each timestep."""
    alphas: Tensor = solver(pipe).alphas_cumprod
    return alphas


def solver_for(pipe: StableDiffusionPipeline, levels: Levels, steps: int) -> Any:  # noqa: ANN401 - diffusers has no type for all
    """The solver of a schedule, its timesteps set, on the CPU: its step then waits for no device."""
    config = pipe.scheduler.config
    if levels == "lcm":
        chosen = LCMScheduler.from_config(config)
    elif levels == "tcd":
        chosen = TCDScheduler.from_config(config)
    elif levels == "hyper-sd":
        chosen = DDIMScheduler.from_config(config, timestep_spacing="trailing", clip_sample=False)  # as its authors
    elif levels == "fast" and not is_stable_diffusion_1(pipe):
        chosen = DPMSolverMultistepScheduler.from_config(solver(pipe).config, use_karras_sigmas=True)
    else:
        chosen = solver(pipe)
    if levels == "fast" and is_stable_diffusion_1(pipe):
        chosen.set_timesteps(timesteps=aligned(chosen.alphas_cumprod, steps))
    else:
        chosen.set_timesteps(steps)
    return chosen


def is_stable_diffusion_1(pipe: StableDiffusionPipeline) -> bool:
    """Whether the base is what the table of Align Your Steps was searched on, by its noise schedule and its text."""
    config = pipe.scheduler.config
    noise = (config.beta_schedule, config.beta_start, config.beta_end, config.num_train_timesteps)
    return (
        config.prediction_type == "epsilon"
        and noise == ("scaled_linear", 0.00085, 0.012, 1000)
        and pipe.unet.config.cross_attention_dim == _TEXT_WIDTH
    )


def aligned(alphas_cumprod: Float[Tensor, " levels"], steps: int) -> list[int]:
    """Timesteps of Align Your Steps, falling; at other counts than ten evenly between these in log sigma.

    That is how its authors go from one count to another.
    """
    if steps == len(ALIGNED):
        return list(ALIGNED)
    log_sigmas = torch.log(((1 - alphas_cumprod) / alphas_cumprod).sqrt()).double().numpy()
    table = np.array([*log_sigmas[list(ALIGNED)], log_sigmas[0]])
    wanted = np.interp(np.linspace(0, len(ALIGNED), steps + 1)[:-1], np.arange(len(table)), table)
    found = np.interp(wanted, log_sigmas, np.arange(len(log_sigmas))).round().astype(int)
    return sorted({int(timestep) for timestep in found}, reverse=True)
