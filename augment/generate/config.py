"""Settings of the synthetic images: a preset, and what overrides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from augment.device import Precision
from augment.diffusion.edit import steps_of
from augment.diffusion.presets import FEW_STEP_SAMPLERS, PRESETS, PresetName
from augment.diffusion.prompt_weighting import Emphasis, parse_prompt
from augment.diffusion.sample import SamplerConfig
from augment.diffusion.sampler_names import NamedSampler, canonical_name, sampler_named
from augment.diffusion.sampler_table import Spacing
from augment.diffusion.samplers import sampler_identity
from augment.generate.edit_config import EditConfig
from augment.generate.few_step import FewStepConfig, taesd_identity
from data.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateConfig:
    """How the synthetic images of one class are generated and written."""

    preset: PresetName = "quality"  # gives the next five if they are not set; PRESETS in diffusion/presets.py
    sampler: Annotated[str, AfterValidator(canonical_name)] | None = None  # by any of its names: docs/samplers.md
    sigmas: Spacing | None = None  # spacing of the sampler's noise levels; None: the base's own timesteps
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None  # a few samplers call the denoiser twice a step
    guidance_scale: Annotated[float, Field(ge=1, le=50)] | None = None  # 1 = none
    guidance_end: Annotated[float, Field(ge=0, le=1)] | None = None  # share of the steps, from the first, with guidance
    few_step: FewStepConfig | None = None  # the distilled LoRA that `preset: few-step` needs
    edit: EditConfig | None = None  # edit photographs of the train part; None: images are generated from noise alone
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
        if self.few_step is not None and (self.sampler or self.sigmas):
            raise ValueError(
                "preset few-step has the sampler that its LoRA was distilled for; leave sampler and sigmas out"
            )
        named, steps, max_steps = self.named_sampler, self.sampling().steps, PRESETS[self.preset].max_steps
        if named is not None and steps > named.row.max_steps:
            raise ValueError(f"sampler {named.name} takes up to {named.row.max_steps} steps, not {steps}; lower steps")
        if named is None and max_steps is not None and steps > max_steps:
            raise ValueError(
                f"preset {self.preset} takes up to {max_steps} steps, not {steps}; lower steps or take quality"
            )
        if self.edit is not None:
            self._refuse_edit(self.edit, steps)
        for prompt in (self.negative_prompt, *self.negative_prompts.values()):
            parse_prompt(prompt, self.emphasis)

    def _refuse_edit(self, edit: EditConfig, steps: int) -> None:
        """Refuse a sampler that cannot start midway, and strengths that make no step."""
        named = self.named_sampler or sampler_named(self._preset_sampler)
        if not named.row.starts_midway:
            raise ValueError(f"edit: sampler {named.name} cannot start midway in diffusers; take dpm++-2m or ddim")
        for strength in edit.chosen_strengths:
            steps_of(steps, strength)

    def for_label(self, label: str) -> GenerateConfig:
        """The settings of one class, whose negative prompt stands in `negative_prompt`."""
        own = self.negative_prompts.get(label, self.negative_prompt)
        return replace(self, negative_prompt=own, negative_prompts={})

    @property
    def named_sampler(self) -> NamedSampler | None:
        """The sampler that the config names; None: the preset's. Raises ConfigError for a spacing it cannot have."""
        if self.sampler is None and self.sigmas is None:
            return None
        return sampler_named(self.sampler or sampler_named(self._preset_sampler).name, self.sigmas)

    @property
    def solver(self) -> str:
        """The sampler's name in records and reports; a preset's is without its timesteps, which the base decides."""
        named = self.named_sampler
        if named is not None:
            return str(named)
        of_preset = sampler_named(self._preset_sampler)
        return of_preset.row.preset_record or of_preset.name

    @property
    def _preset_sampler(self) -> str:
        return PRESETS[self.preset].sampler or (FEW_STEP_SAMPLERS[self.few_step.kind] if self.few_step else "")

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

        Batch sizes are not among them: they change images by rounding alone. Raises InputError for missing
        files and packages.
        """
        sampling, named = self.sampling(), self.named_sampler
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
            # Only where it is not the preset's, so that the digests of earlier images stay.
            **({} if named is None else sampler_identity(named)),
            **({} if self.edit is None else {"edit": self.edit.result_settings()}),
        }
