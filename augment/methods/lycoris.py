"""LoHa and LoKr: relatives of LoRA with products other than B A, trained through peft. Yeh et al. 2024 (LyCORIS).

One class at a time. The file has LyCORIS' names, with alpha, so that the webui and kohya read it as it is. For
generation the updates are added to the weights, as LoRA's are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import peft
import torch
from diffusers import StableDiffusionPipeline
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.torch import save_file
from torch import Tensor, nn

from augment.device import copied, training_dtype
from augment.methods.contract import Adapter, FinetuneSettings, LearningRate
from augment.methods.kohya_names import kohya_name
from augment.methods.lora_layers import Targets, target_layers, target_modules
from augment.methods.lycoris_layers import LOHA, LOKR, Algorithm, Shape, init_factor
from augment.methods.module_trainable import ModuleTrainable
from augment.methods.weights import read_weights
from data.config import STRICT

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts

FILE = "lycoris_weights.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LycorisConfig(FinetuneSettings):
    """Settings that LoHa and LoKr share.

    At five times LoRA's learning rate the embedded base learned channel-swapped phantoms about as fast.
    """

    algorithm: ClassVar[Algorithm]
    peft_config: ClassVar[Any]  # peft's class of its settings

    learning_rate: LearningRate = 5e-4
    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    conv_layers: bool = True  # updates of the ResNet blocks and projections too

    @property
    def targets(self) -> Targets:
        """The layers that are updated."""
        return target_modules(conv_layers=self.conv_layers, text_encoder=self.text_encoder)

    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> PeftLycoris:
        """Copies of the UNet and, if it is trained, the text encoder, with peft's layers."""
        return PeftLycoris(pipe, self, device)

    def adapter(self, folder: Path) -> LycorisAdapter:
        """Open a saved update."""
        return LycorisAdapter(folder, self.targets, self.algorithm, self.rank)

    def trained_params(self, parts: BaseParts) -> int:
        """The numbers of all factors."""
        layers = target_layers(parts, self.targets).values()
        shapes = [self.algorithm.shapes(tuple(layer.weight.shape), self.rank) for layer in layers]
        return sum(math.prod(shape) for factors in shapes for shape in factors.values())


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LohaConfig(LycorisConfig):
    """Settings of LoHa, whose update has a rank up to the square of `rank`."""

    display_name: ClassVar[str] = "LoHa"
    algorithm: ClassVar[Algorithm] = LOHA
    peft_config: ClassVar[Any] = peft.LoHaConfig

    method: Literal["loha"] = "loha"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LokrConfig(LycorisConfig):
    """Settings of LoKr, the smallest file of all; `rank` is that of the larger factor."""

    display_name: ClassVar[str] = "LoKr"
    algorithm: ClassVar[Algorithm] = LOKR
    peft_config: ClassVar[Any] = peft.LoKrConfig

    method: Literal["lokr"] = "lokr"


class PeftLycoris(ModuleTrainable):
    """peft's layers in copies of the UNet and text encoder."""

    def __init__(self, base: StableDiffusionPipeline, config: LycorisConfig, device: torch.device) -> None:
        self.config = config
        modules = {}
        for part, ends in config.targets.items():
            module = copied(getattr(base, part), device, training_dtype(device)).requires_grad_(requires_grad=False)
            module.add_adapter(config.peft_config(r=config.rank, alpha=config.rank, target_modules=list(ends)))
            modules[part] = module
        super().__init__(base, modules)

    def initial(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """One factor is 0, so that training starts from the base."""
        _, factor = _layer_and_factor(name)
        drawn = init_factor(factor, tuple(parameter.shape), self.config.algorithm, generator)
        return drawn.to(parameter.device)

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write LyCORIS' file, without metadata, whose keys would come in random order."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            layer, factor = _layer_and_factor(name)
            tensors[f"{kohya_name(layer)}.{factor}"] = parameter.detach().cpu().contiguous()
            tensors[f"{kohya_name(layer)}.alpha"] = torch.tensor(float(self.config.rank))
        save_file(tensors, folder / FILE)
        return folder / FILE


@plain_dataclass(frozen=True)
class LycorisAdapter(Adapter):
    """A saved update of the layers `targets`."""

    folder: Path
    targets: Targets
    algorithm: Algorithm
    rank: int

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The weights of the updated layers."""
        return [f"{name}.weight" for name in target_layers(pipe, self.targets)]

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each weight with its update added, computed on its own device."""
        shapes = {name: self._shapes(tuple(weight.shape)) for name, weight in weights.items()}
        saved = read_weights(
            self.folder / FILE,
            {f"{_in_file(name)}.{factor}": shape for name, own in shapes.items() for factor, shape in own.items()},
        )
        merged = {}
        for name, weight in weights.items():
            factors = {factor: saved[f"{_in_file(name)}.{factor}"].to(weight) for factor in shapes[name]}
            scale = factors.pop("alpha") / self.rank
            merged[name] = weight + scale * self.algorithm.delta(factors).reshape(weight.shape)
        return merged

    def _shapes(self, weight: Shape) -> dict[str, Shape]:
        return {**self.algorithm.shapes(weight, self.rank), "alpha": ()}


def _in_file(weight: str) -> str:
    return kohya_name(weight.removesuffix(".weight"))


def _layer_and_factor(name: str) -> tuple[str, str]:
    """Of peft's unet.mid_block.resnets.0.conv1.hada_w1_a.default: unet.mid_block.resnets.0.conv1 and hada_w1_a."""
    layer, factor, _ = name.rsplit(".", 2)
    return layer, factor
