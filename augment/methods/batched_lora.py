"""All classes' LoRA on one frozen UNet: a vector of factors a class, laid side by side for each batch.

A class's factors are one vector, so that stacking, clipping and the optimiser's step are one operation each, and a
class can stop, fail or go on from a checkpoint without the others. Saved, it is the file that `Lora` saves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from torch import Tensor, nn

from augment.device import compiled, copied, training_dtype
from augment.methods.batched_layers import Stacked
from augment.methods.lora import Lora, started, write
from augment.methods.weights import with_parts


class Stack:
    """A pipeline whose UNet bears the updates of the classes that a batch is sorted by."""

    def __init__(self, base: StableDiffusionPipeline, lora: Lora, where: torch.device | None = None) -> None:
        """Copy the base's UNet, frozen, in the precision of products, to a device; it bears no update yet.

        None: to the device where the base's lies.
        """
        if lora.text_encoder:
            raise ValueError("a text encoder's update is trained one class at a time")
        where = where or base.unet.device
        unet = copied(base.unet, where, training_dtype(where)).requires_grad_(requires_grad=False)
        self.pipe = with_parts(base, unet=unet)
        found = lora.layers(self.pipe, "unet")
        self._shapes = lora.shapes("unet", found)
        self._layers = [Stacked(layer) for layer in found.values()]
        for path, layer in zip(found, self._layers, strict=True):
            parent, _, name = path.rpartition(".")
            setattr(unet.get_submodule(parent), name, layer)
        self.denoise = compiled(unet)

    def start(self, seed: int) -> nn.Parameter:
        """One class's factors as `Lora.open` begins with them, in float32."""
        generator = torch.Generator().manual_seed(seed)
        parts = [started(name, shape, generator).flatten() for name, shape in self._shapes.items()]
        return nn.Parameter(torch.cat(parts).to(next(self.pipe.unet.parameters()).device))

    def bear(self, vectors: Sequence[Float[Tensor, " factors"]]) -> None:
        """Give the UNet these classes' factors for the batches to come; gradients flow back to the vectors."""
        stacked = torch.stack(list(vectors)).to(self.pipe.unet.dtype)
        factors = iter(self._factors(stacked))
        for layer, down, up in zip(self._layers, factors, factors, strict=True):
            layer.bear(down, up)

    def save(self, vector: Float[Tensor, " factors"], folder: Path) -> Path:
        """Write one class's update as diffusers' own file; gives its path."""
        factors = (factor[0].detach() for factor in self._factors(vector[None]))
        names = (name.removeprefix("unet.") for name in self._shapes)
        return write({"unet": dict(zip(names, factors, strict=True))}, folder)

    def _factors(self, stacked: Float[Tensor, "classes factors"]) -> list[Tensor]:
        """A, B, A, B ..., each with the classes before its own shape; views."""
        shapes = self._shapes.values()
        parts = torch.split(stacked, [math.prod(shape) for shape in shapes], dim=1)
        return [part.view(len(stacked), *shape) for part, shape in zip(parts, shapes, strict=True)]
