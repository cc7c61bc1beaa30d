"""The table of presets, which users choose: a sampler with its steps and guidance.

The presets `quality` and `fast` work on every base. `few-step` needs a LoRA that was distilled for few steps; each kind
of these was distilled for one sampler.

`fast` uses the timesteps of Align Your Steps on Stable Diffusion 1.x, and Karras' noise levels elsewhere: of nine
spacings of ten steps those ended nearest to 80 steps on the embedded base, at 1.1 grey levels (root mean square)
against 1.7 for evenly spaced ones and 0.8 for twenty of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffusers import StableDiffusionPipeline

PresetName = Literal["quality", "fast", "few-step"]
FewStepKind = Literal["lcm", "tcd", "hyper-sd"]

_SD1_TEXT_WIDTH = 768  # of Stable Diffusion 1.x; 2.x has 1024

# The sampler that each kind of few-step LoRA was distilled for.
FEW_STEP_SAMPLERS: dict[FewStepKind, str] = {"lcm": "lcm", "tcd": "tcd", "hyper-sd": "ddim-hyper-sd"}


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
    "quality": Preset(steps=20, guidance_scale=2.0, guidance_end=1.0, sampler="dpm++-2m"),
    "fast": Preset(  # beyond 50 steps noise levels coincide
        steps=10,
        guidance_scale=2.0,
        guidance_end=0.5,
        max_steps=50,
        sampler="dpm++-2m-karras",
        sampler_sd1="dpm++-2m-ays",
    ),
    # guidance is distilled into the LoRA
    "few-step": Preset(steps=4, guidance_scale=1.0, guidance_end=1.0, max_steps=8),
}


def preset_sampler(pipe: StableDiffusionPipeline, preset: PresetName, few_step: FewStepKind | None = None) -> str:
    """The name of a preset's sampler for a base; `few_step` is the kind of the few-step LoRA, None: there is none."""
    row = PRESETS[preset]
    if row.sampler is None:
        if few_step is None:
            raise ValueError(f"preset {preset} has no sampler without the kind of a few-step LoRA")
        return FEW_STEP_SAMPLERS[few_step]
    return row.sampler_sd1 if row.sampler_sd1 and is_stable_diffusion_1(pipe) else row.sampler


def is_stable_diffusion_1(pipe: StableDiffusionPipeline) -> bool:
    """Whether the base is what the table of Align Your Steps was searched on, by its noise schedule and text width."""
    config = pipe.scheduler.config
    noise = (config.beta_schedule, config.beta_start, config.beta_end, config.num_train_timesteps)
    return (
        config.prediction_type == "epsilon"
        and noise == ("scaled_linear", 0.00085, 0.012, 1000)
        and pipe.unet.config.cross_attention_dim == _SD1_TEXT_WIDTH
    )
