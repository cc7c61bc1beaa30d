"""The LoRA file: written through diffusers under peft's names, so that any pipeline loads it; read with every check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment.methods.lora_layers import lora_shapes
from augment.methods.weights import read_weights

FILE = "pytorch_lora_weights.safetensors"


def write_lora(factors: Mapping[str, Tensor], folder: Path) -> Path:
    """Write A and B of each layer, by names such as unet.mid_block.resnets.0.conv1.lora_A.weight; returns the file.

    Without metadata, whose keys would come in random order. Not through diffusers' own converter, which renames the
    attention alone; its loader, which recognises a format by the first name, would then leave the attention out.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for name, factor in factors.items():
        part, _, path = name.partition(".")
        layers.setdefault(f"{part}_lora_layers", {})[path] = factor.detach().cpu().contiguous()
    StableDiffusionPipeline.save_lora_weights(folder, **layers)
    return folder / FILE


def read_lora(folder: Path, layers: Mapping[str, tuple[int, ...]], rank: int) -> dict[str, Tensor]:
    """A and B in float32 of exactly these layers, given by their weights' shapes. Raises BaseError."""
    return read_weights(folder / FILE, lora_shapes(layers, rank))
