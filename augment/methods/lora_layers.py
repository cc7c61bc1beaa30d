"""Low-rank updates B A of a model's layers: which layers, of which shapes, how they start. Hu et al. 2021.

For a convolution A has the layer's kernel and few output channels, and B is 1 x 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")
FURTHER = {
    "unet": ("downsamplers.0.conv", "upsamplers.0.conv"),
    "text_encoder": ("fc1", "fc2"),
}  # kohya's, beside these

Targets = Mapping[str, tuple[str, ...]]  # part of the pipeline -> ends of its layers' paths


def target_modules(*, conv_layers: bool, text_encoder: bool, further: bool = False) -> Targets:
    """The layers that are updated; `further`: also those that kohya's sd-scripts update beside them."""
    unet = ATTENTION + (CONVOLUTIONS if conv_layers else ())
    targets = {"unet": unet, "text_encoder": TEXT} if text_encoder else {"unet": unet}
    return {part: ends + FURTHER[part] for part, ends in targets.items()} if further else targets


def target_layers(parts: Any, targets: Targets) -> dict[str, nn.Linear | nn.Conv2d]:  # noqa: ANN401 - a pipeline or its parts' shapes
    """The layers by names such as unet.mid_block.resnets.0.conv1, in the modules' own order."""
    return {
        f"{part}.{path}": layer
        for part, ends in targets.items()
        for path, layer in getattr(parts, part).named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and path.endswith(tuple(f".{end}" for end in ends))
    }


def lora_keys(layer: str) -> tuple[str, str]:
    """The names of A and B of a layer, in the file too."""
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"


def lora_shapes(layers: Mapping[str, tuple[int, ...]], rank: int) -> dict[str, tuple[int, ...]]:
    """The shapes of A and B, from those of the layers' weights."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (out, into, *kernel) in layers.items():
        down, up = lora_keys(layer)
        shapes[down] = (rank, into, *kernel)
        shapes[up] = (out, rank, *(1 for _ in kernel))
    return shapes


def init_lora(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A as peft draws it, but on the CPU from a generator, so that it is the same on every device; B is 0."""
    factor = torch.zeros(shape)
    if ".lora_A." in name:
        nn.init.kaiming_uniform_(factor, a=math.sqrt(5), generator=generator)
    return factor


def lora_delta(up: Tensor, down: Tensor) -> Tensor:
    """B A, in the shape of the layer's weight; alpha = rank, so its scale is 1."""
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])
