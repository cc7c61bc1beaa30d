"""LoRA of many classes on one frozen UNet, all trained in one batch.

A class's A and B of all layers are one vector, so that stacking the classes, clipping a gradient and the optimizer's
step are one operation each, and a class can end, fail or resume from a checkpoint without the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from torch import Tensor, nn

from augment.device import compiled, copied, training_dtype
from augment.diffusion.conditioning import unet_denoise
from augment.methods.batched_layers import batched_lora_layer
from augment.methods.init_lora import with_start
from augment.methods.lora_files import write_lora
from augment.methods.lora_layers import Targets, init_lora, lora_shapes, target_layers
from augment.methods.weights import with_parts

_FACTORS = "factors"  # the name of a class's one parameter


class BatchedLora:
    """A pipeline whose UNet has the LoRA layers of each class that a batch is sorted by."""

    def __init__(
        self,
        base: StableDiffusionPipeline,
        targets: Targets,
        rank: int,
        device: torch.device,
        max_classes: int | None = None,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Copy the base's UNet, frozen, in the training precision; until classes are bound it is the base's."""
        if "text_encoder" in targets:
            raise ValueError("a text encoder's LoRA is trained one class at a time")
        unet = copied(base.unet, device, training_dtype(device)).requires_grad_(requires_grad=False)
        self.max_classes = max_classes
        self._start = start or {}  # another LoRA's A and B, which each class starts from
        self.pipe = with_parts(base, unet=unet)
        layers = target_layers(self.pipe, targets)
        self._shapes = lora_shapes({name: tuple(layer.weight.shape) for name, layer in layers.items()}, rank)
        self._layers = [batched_lora_layer(layer) for layer in layers.values()]
        for name, layer in zip(layers, self._layers, strict=True):
            parent, _, attribute = name.removeprefix("unet.").rpartition(".")
            setattr(unet.get_submodule(parent), attribute, layer)
        self.denoise = unet_denoise(unet, compiled(unet))

    def parameters(self, seed: int, class_name: str = "") -> dict[str, nn.Parameter]:  # noqa: ARG002 - of other methods
        """One class's A and B in one vector, in float32, drawn as peft draws them, or another LoRA's."""
        generator = torch.Generator().manual_seed(seed)
        parts = [
            with_start(init_lora(name, shape, generator), self._start.get(name)).flatten()
            for name, shape in self._shapes.items()
        ]
        return {_FACTORS: nn.Parameter(torch.cat(parts).to(next(self.pipe.unet.parameters()).device))}

    def bind(self, classes: Sequence[Mapping[str, Float[Tensor, " factors"]]]) -> None:
        """Give the UNet these classes' A and B for the batches to come; gradients flow back to the vectors."""
        stacked = torch.stack([each[_FACTORS] for each in classes]).to(self.pipe.unet.dtype)
        factors = iter(self._factors(stacked))
        for layer, down, up in zip(self._layers, factors, factors, strict=True):
            layer.set_adapters(down, up)

    def save(self, parameters: Mapping[str, Float[Tensor, " factors"]], folder: Path) -> Path:
        """Write one class's A and B as diffusers' LoRA file."""
        factors = self._factors(parameters[_FACTORS][None])
        return write_lora(
            {name: factor[0].detach() for name, factor in zip(self._shapes, factors, strict=True)}, folder
        )

    def _factors(self, stacked: Float[Tensor, "classes factors"]) -> list[Tensor]:
        """A, B, A, B ..., each with the classes as its first dimension; views."""
        shapes = self._shapes.values()
        parts = torch.split(stacked, [math.prod(shape) for shape in shapes], dim=1)
        return [part.view(len(stacked), *shape) for part, shape in zip(parts, shapes, strict=True)]
