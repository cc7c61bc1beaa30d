"""How synthetic images are drawn: a schedule, and the settings that lie over it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from augment.device import Precision
from augment.diffusion.sample import SamplerConfig
from augment.diffusion.samplers import MOST_STEPS, PRESETS, Levels, Schedule
from augment.generate.few_step import DraftConfig, decoder_identity
from data.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateConfig:
    """How the synthetic images of one class are drawn and written."""

    schedule: Schedule = (
        "quality"  # what the next three are where they are not set; diffusion/samplers.py has the table
    )
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None  # denoiser calls an image, without guidance's
    guidance: Annotated[float, Field(ge=1, le=50)] | None = None  # 1 = none
    guidance_until: Annotated[float, Field(ge=0, le=1)] | None = None  # share of the steps, from the first, with it
    draft: DraftConfig | None = None  # the update that `schedule: draft` needs
    taesd: str | None = None  # folder of an AutoencoderTiny that decodes instead of the base's own
    precision: Precision = "auto"  # 16 bits on a GPU, else 32; `fast`: 16 on a CPU that is fast at it; or `float32`
    compile: bool | None = None  # None: where it pays, which is on a GPU from a thousand images
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32  # images; the last batch is filled up to it
    decode_batch: Annotated[int, Field(ge=1, le=4096)] = 8  # images decoded at a time
    format: Literal["jpg", "png"] = "jpg"
    quality: Annotated[int, Field(ge=50, le=100)] = 95  # of a JPEG, without chroma subsampling
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        """Refuse what no schedule could mean."""
        steps = self.sampling().steps
        if self.schedule == "draft" and self.draft is None:
            raise ValueError(
                "schedule draft needs an update that was distilled for few steps; name it: draft: {lora: FILE}"
            )
        if self.schedule != "draft" and self.draft is not None:
            raise ValueError(f"draft is for schedule: draft, not {self.schedule}; leave one of the two out")
        most = MOST_STEPS.get(self.schedule)
        if most is not None and steps > most:
            raise ValueError(
                f"schedule {self.schedule} takes up to {most} steps, not {steps}; lower steps or take quality"
            )

    @property
    def levels(self) -> Levels:
        """Which noise levels are visited, and by which solver."""
        return self.draft.kind if self.schedule == "draft" and self.draft else cast("Levels", self.schedule)

    def sampling(self) -> SamplerConfig:
        """The part that the sampler reads, with what the schedule says."""
        preset = PRESETS[self.schedule]
        return SamplerConfig(
            steps=preset.steps if self.steps is None else self.steps,
            guidance=preset.guidance if self.guidance is None else self.guidance,
            guidance_until=preset.guidance_until if self.guidance_until is None else self.guidance_until,
            batch_size=self.batch_size,
        )

    def recipe(self) -> dict[str, Any]:
        """What the images depend on, as plain JSON: not what only changes speed. Raises BaseError for missing files.

        Settings at their defaults are left out where they came later, so that finished images stay finished.
        """
        sampling = self.sampling()
        said: dict[str, Any] = {
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "guidance_until": sampling.guidance_until,
            "format": self.format,
            "quality": self.quality,
            "negative_prompt": self.negative_prompt,
        }
        if self.schedule != "quality":
            said["schedule"] = self.schedule
        if self.draft is not None:
            said["draft"] = self.draft.identity()
        if self.taesd is not None:
            said["taesd"] = decoder_identity(self.taesd)
        return said if self.precision == "auto" else {**said, "precision": self.precision}
