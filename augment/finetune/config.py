"""How a class is learned: the settings of fine-tuning, and which of them decide the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from augment.diffusion.sample import SamplerConfig
from augment.prompts import RARE_TOKENS
from data.config import STRICT, to_dict

_LEARNING_RATES = {"lora": 1e-4, "dreambooth": 5e-6}  # DataDream's, and DreamBooth's own
# settings that change no result beyond rounding
_IDLE = ("classes_at_once", "accumulate", "gradient_checkpointing", "offload")
_LATER = {"optimizer": "adamw"}  # settings that came later, as they were before: no adapter is made anew for them

Progress = Callable[[str, int, int, float], None]  # label, steps done, of how many, loss


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneConfig:
    """How a class is learned. Defaults suit Stable Diffusion 1.5 at 512 px on one GPU."""

    method: Literal["lora", "dreambooth"] = "lora"
    steps: Annotated[int, Field(ge=1)] = 400
    batch_size: Annotated[int, Field(ge=1)] = 8  # samples of the class; prior preservation adds as many
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None  # None: 1e-4 for LoRA, 5e-6 for DreamBooth
    warmup: Annotated[int, Field(ge=0)] = 20  # steps; then a half cosine down to 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of the gradient
    rank: Annotated[int, Field(ge=1, le=1024)] = 16  # LoRA
    conv: bool = True  # LoRA on the convolutions too: new textures are theirs
    text_encoder: bool = False  # trained too, then prompts are encoded at every step
    flips: bool = True  # the eight turns and mirrors of each image
    prompt_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of samples that see no prompt
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None  # None: each noise level weighs the same
    prior_images: Annotated[int, Field(ge=0)] = 64  # DreamBooth: the base's own lesions; 0 = no prior preservation
    prior_weight: Annotated[float, Field(ge=0)] = 1.0
    checkpoint_every: Annotated[int, Field(ge=1)] = 100  # steps
    preview_every: Annotated[int, Field(ge=0)] = 100  # steps; 0 = none
    preview: SamplerConfig = SamplerConfig(steps=12, batch_size=8)  # a preview holds one batch
    classes_at_once: Annotated[int, Field(ge=1)] | None = None  # LoRA: classes in one batch; None: all
    # for small cards
    accumulate: Annotated[int, Field(ge=1)] = 1  # parts that a batch is computed in, one after another
    gradient_checkpointing: bool = False  # what the UNet computes on the way is computed twice instead of kept
    offload: bool = False  # what is not trained waits in main memory, but for previews
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw"  # 8-bit: the extra `eight-bit`, and a GPU of NVIDIA's

    def __post_init__(self) -> None:
        """Refuse parts that would not be alike."""
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate is {self.accumulate}, which does not divide batch_size, {self.batch_size}")

    @property
    def rate(self) -> float:
        """The learning rate at its highest."""
        return self.learning_rate or _LEARNING_RATES[self.method]

    @property
    def together(self) -> bool:
        """Whether classes are trained in one batch: LoRA, unless the text encoder is trained too."""
        return self.method == "lora" and not self.text_encoder

    @property
    def coded_at_once(self) -> int:
        """Images that the VAE codes at a time; fewer are tried where so many do not fit."""
        return 1 if self.offload else 8

    @property
    def token(self) -> str | None:
        """The rare word of DreamBooth's prompt; each class has a model of its own, so one word serves all."""
        return RARE_TOKENS[0] if self.method == "dreambooth" else None


def decisive(config: FinetuneConfig) -> dict[str, Any]:
    """The settings that an adapter depends on, as plain JSON."""
    plain = {name: value for name, value in to_dict(config).items() if name not in _IDLE}
    return {name: value for name, value in plain.items() if _LATER.get(name, ...) != value}
