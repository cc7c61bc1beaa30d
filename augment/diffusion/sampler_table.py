"""The table of samplers: which scheduler of diffusers each one is, its names, and the noise levels it can have.

A sampler is set up on the base's own noise schedule. What else the base's scheduler config asks for (a solver, a
spacing) is overridden, so a name means the same on every base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers
import numpy as np
import torch
from diffusers.schedulers import AysSchedules
from jaxtyping import Float
from torch import Tensor

Spacing = Literal["linspace", "leading", "trailing", "karras", "exponential", "beta", "lu", "ays"]

# Sabour et al. 2024, "Align Your Steps", Stable Diffusion 1.5; the last level is left for 0 at one step more.
ALIGN_YOUR_STEPS: tuple[int, ...] = tuple(AysSchedules["StableDiffusionTimesteps"])


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
class SpacingOptions:
    """How a scheduler is told to take a spacing."""

    options: Mapping[str, object] = field(default_factory=dict)  # of its config
    flag: str | None = None  # the option of its config that turns the spacing on
    timesteps: Callable[[Tensor, int], list[int]] | None = None  # of alphas_cumprod and steps; None: the scheduler's


_WHOLE_RANGE: Mapping[str, object] = {"timestep_spacing": "linspace"}  # from the last timestep to the first

SPACINGS: Mapping[Spacing, SpacingOptions] = {
    "linspace": SpacingOptions(options=_WHOLE_RANGE),  # the webui's "Uniform"
    "leading": SpacingOptions(options={"timestep_spacing": "leading"}),
    "trailing": SpacingOptions(options={"timestep_spacing": "trailing"}),
    "karras": SpacingOptions(options=_WHOLE_RANGE, flag="use_karras_sigmas"),  # Karras et al. 2022, eq. 5
    "exponential": SpacingOptions(options=_WHOLE_RANGE, flag="use_exponential_sigmas"),
    "beta": SpacingOptions(options=_WHOLE_RANGE, flag="use_beta_sigmas"),  # Lee et al. 2024, "Beta Sampling"
    "lu": SpacingOptions(options=_WHOLE_RANGE, flag="use_lu_lambdas"),  # Lu et al. 2022, DPM-Solver
    "ays": SpacingOptions(timesteps=align_your_steps),  # searched on Stable Diffusion 1.5
}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A scheduler of diffusers and how it is set up on any base."""

    names: tuple[str, ...]  # the webui's label first, then the class of diffusers; case and punctuation are ignored
    scheduler: Any  # a class of diffusers, which has no common type
    options: Mapping[str, object] = field(default_factory=dict)  # laid over the base's own scheduler config
    spacings: tuple[Spacing, ...]  # that the scheduler takes, besides the base's own
    takes_generator: bool = True  # whether its step has the argument
    adds_noise: bool = False  # on the way; False: it solves the ODE, and the starting noise decides the image
    is_brownian: bool = False  # whether that noise is a Brownian path, which is seeded and takes no generator
    starts_midway: bool = True  # False: diffusers' scheduler goes wrong if the first steps are left out
    max_steps: int = 1000
    package: str | None = None  # that the scheduler needs besides diffusers
    preset_record: str | None = None  # its name in the records of presets; None: the table's

    @property
    def label(self) -> str:
        """The webui's name, or diffusers' where the webui has none."""
        return self.names[0]


_TIMESTEPS: tuple[Spacing, ...] = ("linspace", "leading", "trailing")
_SIGMAS: tuple[Spacing, ...] = ("karras", "exponential", "beta")
# Diffusers' DDIM and PLMS step by 1000 // steps timesteps, which linspace does not.
_ALIGNED: tuple[Spacing, ...] = ("leading", "trailing")

_DISTILLED_STEPS = 50  # diffusers' original_inference_steps

_DPM: Mapping[str, object] = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "use_flow_sigmas": False,
    "final_sigmas_type": "zero",
}
_SDE: Mapping[str, object] = {**_DPM, "algorithm_type": "sde-dpmsolver++"}
_SINGLESTEP: Mapping[str, object] = {**_DPM, "lower_order_final": True}
_UNIPC: Mapping[str, object] = {
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "disable_corrector": [],
    "lower_order_final": True,
    "use_flow_sigmas": False,
    "final_sigmas_type": "zero",
}
_DEIS: Mapping[str, object] = {
    "algorithm_type": "deis",
    "solver_order": 2,
    "solver_type": "logrho",
    "lower_order_final": True,
    "use_flow_sigmas": False,
}
_EULER: Mapping[str, object] = {
    "interpolation_type": "linear",
    "timestep_type": "discrete",
    "final_sigmas_type": "zero",
    "sigma_min": None,
    "sigma_max": None,
}

SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler(
        names=("Euler", "EulerDiscreteScheduler"),
        scheduler=diffusers.EulerDiscreteScheduler,
        options=_EULER,
        spacings=(*_TIMESTEPS, *_SIGMAS),
    ),
    "euler-a": Sampler(
        names=("Euler a", "EulerAncestralDiscreteScheduler", "Euler ancestral"),
        scheduler=diffusers.EulerAncestralDiscreteScheduler,
        spacings=_TIMESTEPS,
        adds_noise=True,
    ),
    "lms": Sampler(
        names=("LMS", "LMSDiscreteScheduler"),
        scheduler=diffusers.LMSDiscreteScheduler,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
        starts_midway=False,  # takes the order of its formula from the step's number, not from the steps made
    ),
    "heun": Sampler(  # calls the denoiser twice a step, but once in the last
        names=("Heun", "HeunDiscreteScheduler"),
        scheduler=diffusers.HeunDiscreteScheduler,
        options={"clip_sample": False},
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
    ),
    "dpm2": Sampler(  # so do this and the next
        names=("DPM2", "KDPM2DiscreteScheduler"),
        scheduler=diffusers.KDPM2DiscreteScheduler,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
    ),
    "dpm2-a": Sampler(
        names=("DPM2 a", "KDPM2AncestralDiscreteScheduler", "DPM2 ancestral"),
        scheduler=diffusers.KDPM2AncestralDiscreteScheduler,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        adds_noise=True,
    ),
    "dpm++-2m": Sampler(
        names=("DPM++ 2M", "DPMSolverMultistepScheduler", "dpmsolver++2m"),
        scheduler=diffusers.DPMSolverMultistepScheduler,
        options=_DPM,
        spacings=(*_TIMESTEPS, *_SIGMAS, "lu", "ays"),
        preset_record="dpmsolver++2m",
    ),
    "dpm++-2m-sde": Sampler(
        names=("DPM++ 2M SDE",),
        scheduler=diffusers.DPMSolverMultistepScheduler,
        options=_SDE,
        spacings=(*_TIMESTEPS, *_SIGMAS, "lu"),
        adds_noise=True,
    ),
    "dpm++-3m-sde": Sampler(
        names=("DPM++ 3M SDE",),
        scheduler=diffusers.DPMSolverMultistepScheduler,
        options={**_SDE, "solver_order": 3},
        spacings=(*_TIMESTEPS, *_SIGMAS, "lu"),
        adds_noise=True,
    ),
    "dpm++-2s": Sampler(  # the solver of the webui's DPM++ 2S a without the noise that one adds
        names=("DPM++ 2S", "DPMSolverSinglestepScheduler", "DPM++ 2S a"),
        scheduler=diffusers.DPMSolverSinglestepScheduler,
        options=_SINGLESTEP,
        spacings=_SIGMAS,
    ),
    "dpm++-sde": Sampler(  # calls the denoiser twice a step, but once in the last
        names=("DPM++ SDE", "DPMSolverSDEScheduler"),
        scheduler=diffusers.DPMSolverSDEScheduler,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
        adds_noise=True,
        is_brownian=True,
        package="torchsde",
    ),
    "ddim": Sampler(
        names=("DDIM", "DDIMScheduler"),
        scheduler=diffusers.DDIMScheduler,
        options={"clip_sample": False, "set_alpha_to_one": False},
        spacings=_ALIGNED,
    ),
    "ddim-hyper-sd": Sampler(  # as Hyper-SD's authors set it up
        names=("DDIM Hyper-SD",),
        scheduler=diffusers.DDIMScheduler,
        options={"timestep_spacing": "trailing", "clip_sample": False},
        spacings=(),
        preset_record="ddim",
    ),
    "plms": Sampler(  # one call more than steps
        names=("PLMS", "PNDMScheduler"),
        scheduler=diffusers.PNDMScheduler,
        options={"skip_prk_steps": True, "set_alpha_to_one": False},
        spacings=_ALIGNED,
        takes_generator=False,
        starts_midway=False,  # only the whole schedule repeats the timestep that its first step needs twice
    ),
    "unipc": Sampler(
        names=("UniPC", "UniPCMultistepScheduler"),
        scheduler=diffusers.UniPCMultistepScheduler,
        options=_UNIPC,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
    ),
    "deis": Sampler(
        names=("DEIS", "DEISMultistepScheduler"),
        scheduler=diffusers.DEISMultistepScheduler,
        options=_DEIS,
        spacings=(*_TIMESTEPS, *_SIGMAS),
        takes_generator=False,
    ),
    "dpm-fast": Sampler(  # the same family as the webui's, which chooses its orders otherwise
        names=("DPM fast",),
        scheduler=diffusers.DPMSolverSinglestepScheduler,
        options={**_SINGLESTEP, "solver_order": 3},
        spacings=_SIGMAS,
    ),
    "lcm": Sampler(  # this and the next are for bases that were distilled for them
        names=("LCM", "LCMScheduler"),
        scheduler=diffusers.LCMScheduler,
        spacings=(),
        adds_noise=True,
        max_steps=_DISTILLED_STEPS,
    ),
    "tcd": Sampler(
        names=("TCD", "TCDScheduler"),
        scheduler=diffusers.TCDScheduler,
        spacings=(),
        adds_noise=True,
        max_steps=_DISTILLED_STEPS,
    ),
}
