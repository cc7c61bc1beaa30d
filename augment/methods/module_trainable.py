"""Training of a pipeline's own modules, one class at a time: the part that all methods but batched LoRA share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from augment.device import compiled
from augment.diffusion.conditioning import unet_denoise
from augment.methods.weights import with_parts


class ModuleTrainable(ABC):
    """Copies of some parts of a base; those parameters that require a gradient are trained.

    From class to class parameters are exchanged, not modules. Subclasses say how a class is saved, and how its
    parameters start if not as the base's own.
    """

    max_classes: int | None = 1

    def __init__(self, base: StableDiffusionPipeline, parts: Mapping[str, Any]) -> None:
        self.base = base
        self.pipe = with_parts(base, **parts)
        self.denoise = unet_denoise(self.pipe.unet, compiled(self.pipe.unet))
        self._bound: Mapping[str, nn.Parameter] | None = None

    @abstractmethod
    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write one class's parameters; returns the file whose SHA-256 identifies the adapter."""

    def parameters(self, seed: int, class_name: str = "") -> dict[str, nn.Parameter]:  # noqa: ARG002 - subclasses use it
        """One class's own parameters as training starts, by names such as unet.conv_in.weight."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: nn.Parameter(self.initial(name, parameter, generator))
            for name, parameter in trained_parameters(self.pipe).items()
        }

    def initial(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - subclasses draw from it
        """The value that training starts from, on the parameter's device: a copy of the base's own."""
        part, _, path = name.partition(".")
        own: Tensor = getattr(self.base, part).get_parameter(path).detach()
        return own.to(parameter.device, parameter.dtype, copy=True)

    def bind(self, classes: Sequence[Mapping[str, nn.Parameter]]) -> None:
        """Put one class's parameters into the modules."""
        (parameters,) = classes
        if parameters is self._bound:
            return
        self._bound = parameters
        for name, parameter in parameters.items():
            part, _, path = name.partition(".")
            module, _, attribute = path.rpartition(".")
            setattr(getattr(self.pipe, part).get_submodule(module), attribute, parameter)


def trained_parameters(pipe: StableDiffusionPipeline) -> dict[str, nn.Parameter]:
    """The parameters of the UNet and text encoder that require a gradient, by name, in a fixed order."""
    return {
        f"{part}.{path}": parameter
        for part in ("unet", "text_encoder")
        for path, parameter in getattr(pipe, part).named_parameters()
        if parameter.requires_grad
    }
