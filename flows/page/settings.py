"""What a person asks the page to draw, and the settings of `generate` that this makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from augment.diffusion.prompt_weighting import Emphasis, parse_prompt
from augment.diffusion.sampler_table import SAMPLERS
from augment.generate.config import GenerateConfig
from data.config import parse, to_dict
from data.errors import ConfigError

Redraw = Literal["all", "lesion", "skin", "painted"]  # of a photograph; painted: under a mask drawn by hand
MOST = 64  # images at once: more than a person looks at
_BATCH = 4  # images at a time, so that some are soon there to look at
EMPHASES: tuple[Emphasis, ...] = get_args(Emphasis)


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """One request of the page."""

    label: str
    generator: str  # its name
    prompt: str
    negative_prompt: str = ""
    emphasis: Emphasis = "plain"
    sampler: str = ""  # "": the study's
    steps: int = 20
    guidance_scale: float = 2.0
    count: int = 8  # images
    seed: int = 0
    source_image: str = ""  # id of the train photograph that is edited; "": drawn from noise alone
    strength: float = 0.5  # of the edit: share of the steps; 1 forgets the photograph
    redraw: Redraw = "all"


def samplers(own: GenerateConfig) -> dict[str, str]:
    """The samplers of the page's menu, by what is shown; the study's own first. A few-step LoRA has its own alone."""
    shown = {f"{own.solver} (the study's)": ""}
    if own.few_step is not None:
        return shown
    spaced = {f"{name}-{spacing}" for name, row in SAMPLERS.items() for spacing in row.spacings if spacing == "karras"}
    return shown | {name: name for name in sorted({*SAMPLERS, *spaced})}


def generate_config(own: GenerateConfig, asked: DrawSettings, masks: str | None = None) -> GenerateConfig:
    """The study's settings with what was asked laid over. `masks` is the folder of a painted mask.

    Raises ConfigError for what cannot be drawn, prompts included.
    """
    if not 1 <= asked.count <= MOST:
        raise ConfigError(f"images: {asked.count} at once; take 1 to {MOST}")
    if asked.seed < 0:
        raise ConfigError(f"seed: {asked.seed} is negative; take 0 or a larger whole number")
    if not asked.prompt.strip():
        raise ConfigError("prompt: is empty; say what to draw")
    parse_prompt(asked.prompt, asked.emphasis)
    batch_size = min(own.batch_size, asked.count, _BATCH)
    over: dict[str, Any] = {
        "steps": asked.steps,
        "guidance_scale": asked.guidance_scale,
        "negative_prompt": asked.negative_prompt.strip(),
        "negative_prompts": {},
        "emphasis": asked.emphasis,
        "edit": _edit(asked, masks),
        "batch_size": batch_size,
        "compile": False,
    }
    over |= {"sampler": asked.sampler, "sigmas": None} if asked.sampler else {}
    return parse(GenerateConfig, {**to_dict(own), **over}, "drawing")


def _edit(asked: DrawSettings, masks: str | None) -> dict[str, Any] | None:
    if not asked.source_image:
        return None
    common = {"source": "own", "strengths": (asked.strength,)}
    if asked.redraw == "all":
        return {**common, "mode": "img2img"}
    if asked.redraw == "painted":
        return {**common, "mode": "inpaint", "masks": masks, "grow_mask": 0}
    return {**common, "mode": "inpaint", "region": asked.redraw}
