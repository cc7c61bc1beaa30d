"""What a way of personalising a base consists of: its settings, a `Trainable`, an `Adapter`.

A method is one file: a subclass of `FinetuneSettings`, which is its section of the YAML, makes the trainable that
fine-tuning trains and opens the adapter that was saved. `augment.methods.table` lists the methods, and
`tests/augment/methods/test_trial_method.py` holds a whole one in forty lines.

An adapter replaces weights of a base's UNet and text encoder. A method that needs more than the base has, such as
words or layers, installs them first, with values that do nothing; these are then the base's own values. A method that
trains the text encoder or an embedding sets `text_encoder`; without it prompts are encoded once, before training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, runtime_checkable

import torch
from diffusers import StableDiffusionPipeline
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.conditions.table import ConditionSource
from augment.diffusion.conditioning import Denoise
from augment.diffusion.prompt_weighting import parse_prompt
from augment.diffusion.sample import SamplerConfig
from data.config import STRICT

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts

LearningRate = Annotated[float, Field(gt=0, le=1)]
NO_EFFECT = "changes no result beyond rounding"  # marks a setting that the adapter does not depend on


@runtime_checkable
class Trainable(Protocol):
    """A pipeline prepared for training; the base that it was made from is never changed."""

    @property
    def pipe(self) -> StableDiffusionPipeline:
        """The pipeline with the bound classes' parameters; its text encoder encodes the prompts."""

    @property
    def denoise(self) -> Denoise:
        """The denoiser with the bound classes' parameters."""

    @property
    def max_classes(self) -> int | None:
        """Most classes in one batch; None: no limit, 1: one class at a time."""

    def parameters(self, seed: int, class_name: str = "") -> dict[str, nn.Parameter]:
        """One class's own parameters as training starts, in float32; `class_name`: the class in words."""

    def bind(self, classes: Sequence[Mapping[str, nn.Parameter]]) -> None:
        """Use these classes' parameters for the batches to come, whose equal parts are the classes' in this order."""

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write one class's parameters; returns the file whose SHA-256 identifies the adapter."""


class Adapter(ABC):
    """A saved class: what it adds to a pipeline, which weights it changes, and to what."""

    @property
    def installs(self) -> Hashable:
        """What `install` adds, equal for two adapters that can take turns in one pipeline; None: nothing."""
        return None

    def install(self, pipe: StableDiffusionPipeline) -> None:  # noqa: B027 - most methods add nothing
        """Add modules or words to a pipeline that change no image until `merge`'s weights are copied into them."""

    @abstractmethod
    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """Names, such as unet.conv_in.weight, of the weights that it changes, with those that it has installed."""

    @abstractmethod
    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The fine-tuned weights, from the base's own in float32. Raises BaseError for a file that does not fit."""


@plain_dataclass(frozen=True, kw_only=True)
class PriorPreservation:
    """Images of any class that the base itself generates, trained on beside the class's. Ruiz et al. 2023, eq. 2."""

    num_class_images: int
    loss_weight: float


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneSettings(ABC):
    """Settings that all methods share. Defaults suit Stable Diffusion 1.5 at 512 px on one GPU."""

    display_name: ClassVar[str]
    token: ClassVar[str | None] = None  # the rare word of the prompt; each class has its own adapter, so one is enough
    token_replaces_class: ClassVar[bool] = False  # True: in the prompt the token stands for the class's own words
    bytes_per_param: ClassVar[int] = 4  # of the saved adapter

    method: str
    steps: Annotated[int, Field(ge=1)] = 400
    batch_size: Annotated[int, Field(ge=1)] = 8  # images of the class a step; prior preservation adds as many
    learning_rate: LearningRate
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 20  # then half a cosine down to 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    dihedral: bool = True  # the eight rotations and reflections of each image
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability that a sample's prompt is the empty one
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None  # None: each noise level has the same weight
    text_encoder: bool = False  # True: trained too, and prompts are encoded at every step
    checkpointing_steps: Annotated[int, Field(ge=1), NO_EFFECT] = 100
    preview_every: Annotated[int, Field(ge=0)] = 100  # steps; 0 = no previews
    preview: SamplerConfig = SamplerConfig(steps=12, batch_size=8)  # a preview shows one batch
    preview_prompt: Annotated[str | None, NO_EFFECT] = None  # [name] is the class in words; None: the class's prompt
    held_out_every: Annotated[int, Field(ge=0), NO_EFFECT] = 0  # steps between held-out losses; 0 = none
    select_every: Annotated[int, Field(ge=1)] | None = None  # steps between choices of the kept one; None: the last
    select_images: Annotated[int, Field(ge=8, le=1024)] = 32  # drawn for each choice, always of the same seeds
    select_shots: Annotated[int, Field(ge=0)] = 0  # of the shots, that choose and are not trained on; 0: other lesions
    patience: Annotated[int, Field(ge=1)] | None = None  # choices without a better step, after which a class ends
    # for GPUs with little memory
    gradient_accumulation_steps: Annotated[int, Field(ge=1), NO_EFFECT] = 1  # equal parts of a batch, one after another
    gradient_checkpointing: Annotated[bool, NO_EFFECT] = False  # the UNet's activations are computed twice, not kept
    cpu_offload: Annotated[bool, NO_EFFECT] = (
        False  # modules that are not trained stay in main memory, but for previews
    )
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw"  # 8-bit: the extra `eight-bit`, and an NVIDIA GPU

    def __post_init__(self) -> None:
        """Refuse a batch that cannot be divided into equal parts, a choice that is never made, and an unread prompt."""
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps is {self.gradient_accumulation_steps}, which does not divide "
                f"batch_size, {self.batch_size}"
            )
        if self.select_every is None and (self.patience or self.select_shots):
            raise ValueError("patience and select_shots need select_every, the steps between two choices")
        if self.preview_prompt is not None:
            parse_prompt(self.preview_prompt)

    @abstractmethod
    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> Trainable:
        """Make what is trained, on the device, from a frozen pipeline wherever that is."""

    @abstractmethod
    def adapter(self, folder: Path) -> Adapter:
        """Open what a trainable of these settings saved."""

    @abstractmethod
    def trained_params(self, parts: BaseParts) -> int:
        """How many parameters of one class are trained."""

    @property
    def max_classes(self) -> int | None:
        """Most classes in one batch; None: no limit, 1: one class at a time."""
        return 1

    @property
    def prior_preservation(self) -> PriorPreservation | None:
        """None: the class's images alone are trained on."""
        return None

    @property
    def condition_source(self) -> ConditionSource | None:
        """What is made of each photograph for the denoiser to follow; None: it follows none."""
        return None

    @property
    def draws_in_forward(self) -> bool:
        """Whether the forward pass of a training step draws random numbers, as dropout does."""
        return False

    @property
    def vae_batch_size(self) -> int:
        """Images that the VAE encodes or decodes at a time; fewer where they do not fit the device's memory."""
        return 1 if self.cpu_offload else 8
