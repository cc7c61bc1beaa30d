"""LoRA: low-rank updates B A of the UNet's layers, alpha = rank. Hu et al. 2021.

Besides the attention, which is usually adapted, the convolutions are updated, for new textures. Classes are trained in
one batch (`augment.methods.batched_lora`), or one at a time through peft where the text encoder is trained too; both
start from the same numbers and save the same file. For generation the updates are added to the weights, so a
fine-tuned class costs no more to sample than the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import peft
import torch
from diffusers import StableDiffusionPipeline
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.device import copied, training_dtype
from augment.methods.batched_lora import BatchedLora
from augment.methods.contract import NO_EFFECT, Adapter, FinetuneSettings, LearningRate, Trainable
from augment.methods.init_lora import read_init_lora, with_start
from augment.methods.lora_files import read_lora, write_lora
from augment.methods.lora_layers import (
    Targets,
    init_lora,
    lora_delta,
    lora_keys,
    lora_shapes,
    target_layers,
    target_modules,
)
from augment.methods.module_trainable import ModuleTrainable
from data.config import STRICT

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoraConfig(FinetuneSettings):
    """Settings of LoRA. The learning rate is DataDream's (Kim et al. 2024)."""

    display_name: ClassVar[str] = "LoRA"

    method: Literal["lora"] = "lora"
    learning_rate: LearningRate = 1e-4
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    conv_layers: bool = True  # updates of the ResNet blocks and projections too
    init_lora: str | None = None  # a LoRA's .safetensors, of whatever program, to start from; None: B = 0
    max_classes_per_batch: Annotated[Annotated[int, Field(ge=1)] | None, NO_EFFECT] = None  # None: all classes

    @property
    def max_classes(self) -> int | None:
        """A text encoder is trained for one class at a time."""
        return 1 if self.text_encoder else self.max_classes_per_batch

    @property
    def targets(self) -> Targets:
        """The layers that are updated."""
        further = self.init_lora is not None
        return target_modules(conv_layers=self.conv_layers, text_encoder=self.text_encoder, further=further)

    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> Trainable:
        """All classes in one batch, or one at a time through peft."""
        start = self._start(pipe)
        if self.text_encoder:
            return PeftLora(pipe, self.targets, self.rank, device, start)
        return BatchedLora(pipe, self.targets, self.rank, device, self.max_classes, start)

    def _start(self, pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
        """A and B that training starts from, of the file's layers; none without a file."""
        if self.init_lora is None:
            return {}
        return read_init_lora(Path(self.init_lora), pipe, target_layers(pipe, self.targets), self.rank)

    def adapter(self, folder: Path) -> LoraAdapter:
        """Open a saved update."""
        return LoraAdapter(folder, self.targets, self.rank)

    def trained_params(self, parts: BaseParts) -> int:
        """The numbers of A and B."""
        layers = {name: tuple(layer.weight.shape) for name, layer in target_layers(parts, self.targets).items()}
        return sum(math.prod(shape) for shape in lora_shapes(layers, self.rank).values())


class PeftLora(ModuleTrainable):
    """peft's layers in copies of the UNet and text encoder."""

    def __init__(
        self,
        base: StableDiffusionPipeline,
        targets: Targets,
        rank: int,
        device: torch.device,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.start = start or {}
        modules = {}
        for part, ends in targets.items():
            module = copied(getattr(base, part), device, training_dtype(device)).requires_grad_(requires_grad=False)
            module.add_adapter(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=list(ends)))
            modules[part] = module
        super().__init__(base, modules)

    def initial(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """B = 0, so that training starts from the base; or another LoRA's A and B."""
        drawn = init_lora(name, tuple(parameter.shape), generator)
        return with_start(drawn, self.start.get(name.replace(".default.", "."))).to(parameter.device)

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write diffusers' LoRA file."""
        return write_lora({name.replace(".default.", "."): each for name, each in parameters.items()}, folder)


@plain_dataclass(frozen=True)
class LoraAdapter(Adapter):
    """A saved update of the layers `targets`."""

    folder: Path
    targets: Targets
    rank: int

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The weights of the updated layers."""
        return [f"{name}.weight" for name in target_layers(pipe, self.targets)]

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each weight with B A added, computed on its own device."""
        layers = {name.removesuffix(".weight"): tuple(weight.shape) for name, weight in weights.items()}
        factors = read_lora(self.folder, layers, self.rank)
        merged = {}
        for name, weight in weights.items():
            down, up = (factors[key].to(weight) for key in lora_keys(name.removesuffix(".weight")))
            merged[name] = weight + lora_delta(up, down)
        return merged
