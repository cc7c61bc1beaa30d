"""Hypernetworks: small networks before the keys and values of every attention, in the web UI's form.

They change what the attention reads, and none of the base's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass as plain_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from diffusers import StableDiffusionPipeline
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.device import copied, training_dtype
from augment.methods.contract import Adapter, FinetuneSettings, LearningRate
from augment.methods.hypernetwork_files import read_hypernetwork, write_hypernetwork
from augment.methods.hypernetwork_layers import (
    HypernetworkShape,
    attention_widths,
    file_names,
    hypernetwork_weights,
    install_hypernetwork,
    last_layer,
)
from augment.methods.module_trainable import ModuleTrainable
from augment.methods.weights import require_fit
from data.config import STRICT
from data.errors import BaseError

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts

FILE = "hypernetwork.safetensors"
_STD = 0.01  # of the web UI's start, and of its norms' weights

Activation = Literal["linear", "relu", "leakyrelu", "elu", "swish", "tanh", "sigmoid"]
WeightInit = Literal["normal", "xavier-uniform", "xavier-normal", "kaiming-uniform", "kaiming-normal"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HypernetworkConfig(FinetuneSettings):
    """Settings of hypernetworks. The layers are the web UI's, and the learning rate is for hundreds of steps."""

    display_name: ClassVar[str] = "Hypernetwork"

    method: Literal["hypernetwork"] = "hypernetwork"
    learning_rate: LearningRate = 1e-4
    layer_structure: tuple[Annotated[float, Field(gt=0, le=8)], ...] = (1, 2, 1)  # widths, as multiples of the input's
    activation: Activation = "linear"  # of the hidden layers; swish is the hard one, as in the web UI
    layer_norm: bool = False  # after each layer
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # after each hidden layer, while it is trained
    weight_init: WeightInit = "normal"  # of the hidden layers; the last is 0, so that training starts from the base

    def __post_init__(self) -> None:
        """Refuse layers that cannot be built, and dropout that would depend on how a batch is divided."""
        super().__post_init__()
        if self.text_encoder:
            raise ValueError("text_encoder: a hypernetwork is of the UNet alone; remove it")
        if self.dropout and self.gradient_accumulation_steps > 1:
            raise ValueError("dropout differs between the parts of a batch; set gradient_accumulation_steps to 1")
        _ = self.shape

    @property
    def shape(self) -> HypernetworkShape:
        """The layers. Raises ValueError for widths that do not begin and end with 1."""
        hidden = len(self.layer_structure) - 2
        return HypernetworkShape(
            layer_structure=self.layer_structure,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=(0.0, *[self.dropout] * hidden, 0.0) if self.dropout else (),
        )

    @property
    def draws_in_forward(self) -> bool:
        """Dropout does."""
        return self.dropout > 0

    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> HypernetworkTrainable:
        """A frozen UNet with the networks."""
        return HypernetworkTrainable(pipe, self.shape, self.weight_init, device)

    def adapter(self, folder: Path) -> HypernetworkAdapter:
        """Open saved networks."""
        return HypernetworkAdapter(folder / FILE, self.shape)

    def trained_params(self, parts: BaseParts) -> int:
        """The numbers of the networks of all widths."""
        return sum(self.shape.param_count(width) for width in attention_widths(parts.unet))


class HypernetworkTrainable(ModuleTrainable):
    """A frozen copy of the UNet, and networks before its keys and values that are trained."""

    def __init__(
        self, base: StableDiffusionPipeline, shape: HypernetworkShape, weight_init: WeightInit, device: torch.device
    ) -> None:
        unet = copied(base.unet, device, training_dtype(device)).requires_grad_(requires_grad=False)
        super().__init__(base, {"unet": unet})
        install_hypernetwork(self.pipe, shape)
        self._shape, self._weight_init = shape, weight_init
        networks = self.pipe.unet.hypernetwork.float().requires_grad_(requires_grad=True)
        for multiplier in networks.buffers():
            multiplier.fill_(1)
        self._last = f".linear.{last_layer(shape)}.weight"

    def initial(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """Hidden weights as the web UI draws them, but on the CPU from a generator; biases and the last layer are 0."""
        value = torch.zeros(parameter.shape)
        if parameter.ndim > 1 and not name.endswith(self._last):
            self._draw(value, generator)
        elif parameter.ndim == 1 and name.endswith(".weight"):  # of a norm
            nn.init.normal_(value, std=_STD, generator=generator)
        return value.to(parameter.device)

    def _draw(self, value: Tensor, generator: torch.Generator) -> None:
        init: dict[WeightInit, Callable[..., Tensor]] = {
            "normal": partial(nn.init.normal_, std=_STD),
            "xavier-uniform": nn.init.xavier_uniform_,
            "xavier-normal": nn.init.xavier_normal_,
            "kaiming-uniform": partial(nn.init.kaiming_uniform_, nonlinearity=self._rectifier),
            "kaiming-normal": partial(nn.init.kaiming_normal_, nonlinearity=self._rectifier),
        }
        init[self._weight_init](value, generator=generator)

    @property
    def _rectifier(self) -> Literal["relu", "leaky_relu"]:
        """What Kaiming's start supposes; the web UI knows these two."""
        return "leaky_relu" if self._shape.activation == "leakyrelu" else "relu"

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write the networks as safetensors, which name their shape."""
        names = file_names(list(parameters))
        tensors = {short: parameters[name] for name, short in names.items()}
        return write_hypernetwork(tensors, self._shape, folder / FILE)


@plain_dataclass(frozen=True)
class HypernetworkAdapter(Adapter):
    """Saved networks, of this program or of the web UI."""

    file: Path
    shape: HypernetworkShape
    widths: tuple[int, ...] | None = None  # that there are networks for; None: all of the base's

    @property
    def installs(self) -> Hashable:
        """The layers and the widths."""
        return self.shape, self.widths

    def install(self, pipe: StableDiffusionPipeline) -> None:
        """Add networks that change nothing."""
        install_hypernetwork(pipe, self.shape, self.widths)

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The networks' weights and multipliers."""
        return hypernetwork_weights(pipe)

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The saved weights, and multipliers of 1; of the base's own, which are zero, only the shapes are used."""
        names = file_names(list(weights))
        shape, saved = read_hypernetwork(self.file)
        if shape != self.shape:
            raise BaseError(f"{self.file}: has other layers than its settings say; fine-tune again")
        require_fit(self.file, saved, {names[name]: tuple(weights[name].shape) for name in names})
        return {name: saved[names[name]] if name in names else torch.ones(()) for name in weights}
