"""LoRA: low-rank updates B A of the UNet's layers, alpha = rank, saved as diffusers' own file.

Hu et al. 2021. Beside the attention, which is what is usually adapted, the convolutions too: new
textures are theirs. Classes are trained together on `augment.methods.batched_lora`, which starts as peft does and saves
the same file; through peft itself only where the text encoder is trained too, one class after another. For generation
the updates are added to the weights, so a fine-tuned class costs no more to sample than the base.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from augment.device import copied, training_dtype
from augment.methods.weights import read_weights, with_parts

FILE = "pytorch_lora_weights.safetensors"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Which layers get an update, and of which rank."""

    rank: int = 16
    conv: bool = True  # the ResNet blocks and projections too
    text_encoder: bool = False

    def open(self, pipe: StableDiffusionPipeline, seed: int) -> StableDiffusionPipeline:
        """Copies with B = 0, so that the start is the base, and A drawn from the seed."""
        generator = torch.Generator().manual_seed(seed)
        parts: dict[str, nn.Module] = {}
        for name, targets in self._targets().items():
            own = getattr(pipe, name)
            part = copied(own, own.device, training_dtype(own.device)).requires_grad_(requires_grad=False)
            part.add_adapter(LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=list(targets)))
            _start(part, generator)
            parts[name] = part
        return with_parts(pipe, **parts)

    def touched(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The weights of the layers that get an update."""
        found = {part: _layers(getattr(pipe, part), targets) for part, targets in self._targets().items()}
        return [f"{part}.{path}.weight" for part, layers in found.items() for path in layers]

    def merged(self, plain: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Each weight with B A added, computed where it lies."""
        keys = {name: _keys(*name.removesuffix(".weight").split(".", 1)) for name in plain}
        shapes: dict[str, tuple[int, ...]] = {}
        for name, weight in plain.items():
            out, into, *kernel = weight.shape
            down, up = keys[name]
            shapes |= {down: (self.rank, into, *kernel), up: (out, self.rank, *(1 for _ in kernel))}
        read = {
            key: tensor.to(next(iter(plain.values()))) for key, tensor in read_weights(folder / FILE, shapes).items()
        }
        return {name: plain[name] + product(read[up], read[down]) for name, (down, up) in keys.items()}

    def save(self, pipe: StableDiffusionPipeline, folder: Path) -> Path:
        """Through diffusers, with no metadata of its own: two keys would come in random order.

        Under peft's names, which diffusers reads. Its own converter renames the attention alone, and its
        loader, which judges a file by the first name, then leaves the attention out.
        """
        return write({name: get_peft_model_state_dict(getattr(pipe, name)) for name in self._targets()}, folder)

    def apply(self, pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """Copies with B A added to the weights."""
        layers = {name: self.layers(pipe, name) for name in self._targets()}
        shapes = {key: shape for name, found in layers.items() for key, shape in self.shapes(name, found).items()}
        tensors = read_weights(folder / FILE, shapes)
        parts = {}
        for name, found in layers.items():
            parts[name] = part = copy.deepcopy(getattr(pipe, name))
            for path in found:
                down, up = (tensors[key] for key in _keys(name, path))
                weight = part.get_parameter(f"{path}.weight")
                weight.data += product(up, down).to(weight)
        return with_parts(pipe, **parts)

    def _targets(self) -> dict[str, tuple[str, ...]]:
        unet = ATTENTION + (CONVOLUTIONS if self.conv else ())
        return {"unet": unet, "text_encoder": TEXT} if self.text_encoder else {"unet": unet}

    def layers(self, pipe: StableDiffusionPipeline, part: str) -> dict[str, nn.Linear | nn.Conv2d]:
        """The layers of the pipeline's part that get an update, by path, in the module's own order."""
        return _layers(getattr(pipe, part), self._targets()[part])

    def shapes(self, part: str, layers: Mapping[str, nn.Linear | nn.Conv2d]) -> dict[str, tuple[int, ...]]:
        """The shapes of their A and B, under the file's names."""
        shapes: dict[str, tuple[int, ...]] = {}
        for path, layer in layers.items():
            out, into, *kernel = layer.weight.shape
            down, up = _keys(part, path)
            shapes[down] = (self.rank, into, *kernel)
            shapes[up] = (out, self.rank, *(1 for _ in kernel))
        return shapes


def write(states: Mapping[str, Mapping[str, Tensor]], folder: Path) -> Path:
    """Write each part's A and B, by names that begin within the part."""
    layers = {
        f"{part}_lora_layers": {key: value.cpu().contiguous() for key, value in state.items()}
        for part, state in states.items()
    }
    StableDiffusionPipeline.save_lora_weights(folder, **layers)
    return folder / FILE


def product(up: Tensor, down: Tensor) -> Tensor:
    """B A, in the shape of the layer's weight; for a convolution A has its kernel and B is 1 x 1."""
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def _layers(model: nn.Module, targets: tuple[str, ...]) -> dict[str, nn.Linear | nn.Conv2d]:
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and path.endswith(tuple(f".{target}" for target in targets))
    }


def _keys(part: str, path: str) -> tuple[str, str]:
    """The names of A and B in the file."""
    return f"{part}.{path}.lora_A.weight", f"{part}.{path}.lora_B.weight"


def started(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A as peft draws it, but from a generator of our own, whatever the device; B is 0."""
    start = torch.zeros(shape)
    if ".lora_A." in name:
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
    return start


def _start(part: nn.Module, generator: torch.Generator) -> None:
    for name, parameter in part.named_parameters():
        if parameter.requires_grad:
            parameter.data = started(name, tuple(parameter.shape), generator).to(parameter.device)
