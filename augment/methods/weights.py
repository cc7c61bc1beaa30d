"""Weights files, read with every check that the libraries leave out: keys, shapes, finiteness.

An adapter made for another base can load without an error and change nothing, and one full of NaN loads too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data.errors import BaseError

Shapes = Mapping[str, tuple[int, ...]]


def read_weights(path: Path, shapes: Shapes) -> dict[str, Tensor]:
    """The file's tensors in float32, exactly those of `shapes`. Raises BaseError."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as fault:
        raise BaseError(f"{path}: cannot be read as safetensors ({_first_line(fault)}); fine-tune again") from fault
    require_fit(path, tensors, shapes)
    return {name: tensor.float() for name, tensor in tensors.items()}


def require_fit(path: Path, tensors: Mapping[str, Tensor], shapes: Shapes) -> None:
    """Raise BaseError unless a file's tensors are exactly those of `shapes`, and finite."""
    missing, unknown = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing or unknown:
        first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown to it"
        raise BaseError(
            f"{path}: {len(missing)} of {len(shapes)} tensors missing and {len(unknown)} too many for this base "
            f"({first}); it was made for another model or other settings"
        )
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shapes[name]:
            has, needs = tuple(tensor.shape), shapes[name]
            raise BaseError(f"{path}: {name} has the shape {has}, this base needs {needs}; made for another model")
        if not torch.isfinite(tensor).all():
            raise BaseError(f"{path}: {name} holds numbers that are not finite; fine-tune again")


def with_parts(pipe: StableDiffusionPipeline, **parts: Any) -> StableDiffusionPipeline:  # noqa: ANN401 - as diffusers' own
    """A pipeline that shares all but these parts, modules or a tokenizer, with another."""
    other = StableDiffusionPipeline(**{**pipe.components, **parts}, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    return other


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
