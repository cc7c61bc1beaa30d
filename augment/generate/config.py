"""Settings of the synthetic images: a preset, and what overrides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from augment.device import Precision
from augment.diffusion.prompt_weighting import Emphasis, parse_prompt
from augment.diffusion.sample import SamplerConfig
from augment.diffusion.samplers import FEW_STEP_SAMPLERS, PRESETS, SAMPLERS, PresetName
from augment.generate.few_step import FewStepConfig, taesd_identity
from data.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateConfig:
    """How the synthetic images of one class are generated and written."""

    preset: PresetName = "quality"  # gives the next three if they are not set; PRESETS in diffusion/samplers.py
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None  # denoiser calls an image, without guidance's
    guidance_scale: Annotated[float, Field(ge=1, le=50)] | None = None  # 1 = none
    guidance_end: Annotated[float, Field(ge=0, le=1)] | None = None  # share of the steps, from the first, with guidance
    few_step: FewStepConfig | None = None  # the distilled LoRA that `preset: few-step` needs
    taesd: str | None = None  # folder of an AutoencoderTiny that decodes instead of the base's own
    precision: Precision = "auto"  # 16 bits on a GPU, else 32; `fast`: 16 on a CPU that is fast at it; or `float32`
    compile: bool | None = None  # None: if it pays, which it does on a GPU from a thousand images
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32  # images; the last batch is filled up to it
    vae_batch_size: Annotated[int, Field(ge=1, le=4096)] = 8  # images decoded at a time
    format: Literal["jpg", "png"] = "jpg"
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95  # without chroma subsampling
    negative_prompt: str = ""
    negative_prompts: Mapping[str, str] = field(default_factory=dict)  # of single classes, in place of the one for all
    emphasis: Emphasis = "plain"  # embeddings times weights; `webui-mean`: rescaled to the old mean; `off`: no syntax

    def __post_init__(self) -> None:
        """Refuse settings that contradict the preset."""
        if self.preset == "few-step" and self.few_step is None:
            raise ValueError(
                "preset few-step needs a LoRA that was distilled for few steps; name it: few_step: {lora: FILE}"
            )
        if self.preset != "few-step" and self.few_step is not None:
            raise ValueError(f"few_step is for preset: few-step, not {self.preset}; leave one of the two out")
        steps, max_steps = self.sampling().steps, PRESETS[self.preset].max_steps
        if max_steps is not None and steps > max_steps:
            raise ValueError(
                f"preset {self.preset} takes up to {max_steps} steps, not {steps}; lower steps or take quality"
            )
        for prompt in (self.negative_prompt, *self.negative_prompts.values()):
            parse_prompt(prompt, self.emphasis)

    def for_label(self, label: str) -> GenerateConfig:
        """The settings of one class, whose negative prompt stands in `negative_prompt`."""
        own = self.negative_prompts.get(label, self.negative_prompt)
        return replace(self, negative_prompt=own, negative_prompts={})

    @property
    def solver(self) -> str:
        """The solver's name in records and reports; its timesteps follow from preset and base."""
        sampler = PRESETS[self.preset].sampler or (FEW_STEP_SAMPLERS[self.few_step.kind] if self.few_step else "")
        return SAMPLERS[sampler].solver

    @property
    def uses_distilled_parts(self) -> bool:
        """Whether a part was distilled by others, on images that are not known."""
        return self.few_step is not None or self.taesd is not None

    def sampling(self) -> SamplerConfig:
        """The sampler's settings, the preset's for those that are not set."""
        preset = PRESETS[self.preset]
        return SamplerConfig(
            steps=preset.steps if self.steps is None else self.steps,
            guidance_scale=preset.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            guidance_end=preset.guidance_end if self.guidance_end is None else self.guidance_end,
            batch_size=self.batch_size,
        )

    def result_settings(self) -> dict[str, Any]:
        """The settings that the images depend on, as plain JSON; a class's are those of its `for_label`.

        Batch sizes are not among them: they change images by rounding alone. Raises BaseError for missing files.
        """
        sampling = self.sampling()
        return {
            "preset": self.preset,
            "steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "guidance_end": sampling.guidance_end,
            "few_step": None if self.few_step is None else self.few_step.identity(),
            "taesd": None if self.taesd is None else taesd_identity(self.taesd),
            "precision": self.precision,
            "format": self.format,
            "jpeg_quality": self.jpeg_quality,
            "negative_prompt": self.negative_prompt,
            **({"negative_prompts": dict(self.negative_prompts)} if self.negative_prompts else {}),
            **({"emphasis": self.emphasis} if self.emphasis != "plain" else {}),
        }
