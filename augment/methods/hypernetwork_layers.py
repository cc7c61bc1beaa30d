"""Hypernetworks as the web UI has them: small networks that change what each attention's keys and values are made of.

x + f(x) in place of x, before `to_k` and `to_v` of every attention of the UNet, self-attention included. There are two
networks for each width of x, whichever attention it is of.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional

from data.errors import BaseError

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "swish": nn.Hardswish,  # what the web UI means by it
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_KINDS = {"k": "to_k", "v": "to_v"}
_PREFIX = "unet.hypernetwork."


@dataclass(frozen=True, kw_only=True)
class HypernetworkShape:
    """Layers of each network. The order of layers is that of the web UI, whose files name them by number."""

    layer_structure: tuple[float, ...] = (1, 2, 1)  # widths, as multiples of that of x; the first and last are 1
    activation: str = "linear"  # of the hidden layers, a key of ACTIVATIONS
    layer_norm: bool = False  # after each layer
    activate_output: bool = False  # of the last layer too; older files have it
    dropout: tuple[float, ...] = ()  # for each of the widths, after its layer; (): none

    def __post_init__(self) -> None:
        """Refuse layers that cannot be built."""
        widths = self.layer_structure
        if len(widths) < 2 or widths[0] != 1 or widths[-1] != 1 or min(widths) <= 0:  # noqa: PLR2004 - in and out
            raise ValueError(
                f"layer_structure is {list(widths)}; it begins and ends with 1 and is positive, as 1, 2, 1"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is none of {', '.join(ACTIVATIONS)}")
        if self.dropout and (len(self.dropout) != len(widths) or not all(0 <= share < 1 for share in self.dropout)):
            raise ValueError(f"dropout is {list(self.dropout)}; it has a share below 1 for each of {list(widths)}")

    def param_count(self, width: int) -> int:
        """Numbers of both networks of a width."""
        sizes = [int(width * factor) for factor in self.layer_structure]
        norms = 2 * sum(sizes[1:]) if self.layer_norm else 0
        return 2 * (sum(into * out + out for into, out in itertools.pairwise(sizes)) + norms)


class HypernetworkModule(nn.Module):
    """x + f(x) m; with zero weights, and m = 0, it is x."""

    multiplier: Tensor  # 0 until a class is filled in, then 1

    def __init__(self, width: int, shape: HypernetworkShape) -> None:
        super().__init__()
        self.linear = nn.Sequential(*_layers(width, shape))
        self.register_buffer("multiplier", torch.zeros(()))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        """The changed inputs of a layer, in their own precision."""
        change: Tensor = self.linear(inputs) * self.multiplier
        return inputs + change.to(inputs.dtype)

    def before(self, _layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A forward pre-hook of the layer; a method, so that a copy of the UNet calls its own copy."""
        return (self(args[0]), *args[1:])


class _Dropout(nn.Dropout):
    """Dropout wherever gradients are computed: images that a training draws on its way have none."""

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.dropout(inputs, self.p, training=torch.is_grad_enabled())


def install_hypernetwork(
    pipe: StableDiffusionPipeline, shape: HypernetworkShape, widths: Sequence[int] | None = None
) -> None:
    """Add networks that change nothing to a pipeline's UNet, in place; None: for all of its widths."""
    unet, layers = pipe.unet, attention_layers(pipe.unet)
    networks = nn.ModuleDict()
    for width in attention_widths(unet) if widths is None else widths:
        networks[str(width)] = nn.ModuleDict({kind: HypernetworkModule(width, shape) for kind in _KINDS})
    networks.to(unet.device, unet.dtype).requires_grad_(requires_grad=False)
    unet.hypernetwork = networks
    for path, layer in layers.items():
        if str(layer.in_features) in networks:
            kind = path.rpartition("to_")[2]
            layer.register_forward_pre_hook(networks[str(layer.in_features)][kind].before)  # type: ignore[index]


def hypernetwork_weights(pipe: StableDiffusionPipeline) -> list[str]:
    """Names, such as unet.hypernetwork.320.k.linear.0.weight, of the installed networks' weights and multipliers."""
    return [f"{_PREFIX}{path}" for path in pipe.unet.hypernetwork.state_dict()]


def file_names(names: Sequence[str]) -> dict[str, str]:
    """The weights' names in a file, 320.k.linear.0.weight, by their names in a pipeline; multipliers are in no file."""
    own = [name for name in names if name.startswith(_PREFIX) and not name.endswith(".multiplier")]
    return {name: name.removeprefix(_PREFIX) for name in own}


def attention_widths(unet: Any) -> list[int]:  # noqa: ANN401 - a UNet, or its shapes
    """The different widths of what keys and values are made of, ascending."""
    return sorted({layer.in_features for layer in attention_layers(unet).values()})


def attention_layers(unet: Any) -> dict[str, nn.Linear]:  # noqa: ANN401 - as above
    """The layers of keys and values by path."""
    ends = tuple(f".{layer}" for layer in _KINDS.values())
    return {path: module for path, module in unet.named_modules() if path.endswith(ends)}


def last_layer(shape: HypernetworkShape) -> int:
    """The number of the last linear layer among a network's layers."""
    with torch.device("meta"):
        layers = _layers(64, shape)
    return max(index for index, layer in enumerate(layers) if isinstance(layer, nn.Linear))


def _layers(width: int, shape: HypernetworkShape) -> list[nn.Module]:
    """Each linear layer with what follows it. A layer that does nothing is left out: it would shift the numbers."""
    sizes = [int(width * factor) for factor in shape.layer_structure]
    if min(sizes) < 1:
        raise BaseError(f"layer_structure {list(shape.layer_structure)} leaves no unit of {width}; take larger factors")
    layers: list[nn.Module] = []
    for index, (into, out) in enumerate(itertools.pairwise(sizes), 1):
        layers.append(nn.Linear(into, out))
        if shape.activation != "linear" and (index < len(sizes) - 1 or shape.activate_output):
            layers.append(ACTIVATIONS[shape.activation]())
        if shape.layer_norm:
            layers.append(nn.LayerNorm(out))
        if shape.dropout and shape.dropout[index] > 0:
            layers.append(_Dropout(shape.dropout[index]))
    return layers
