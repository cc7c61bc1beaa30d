"""ControlNets in diffusers' folders: diffusion_pytorch_model.safetensors and config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor

from augment.methods.weights import Shapes, read_weights
from data.errors import BaseError
from data.store import read_json

WEIGHTS, CONFIG = "diffusion_pytorch_model.safetensors", "config.json"  # diffusers' names

# Settings that decide what the numbers mean, and that their shapes do not show.
_GEOMETRY = (
    "in_channels",
    "down_block_types",
    "mid_block_type",
    "block_out_channels",
    "attention_head_dim",
    "num_attention_heads",
    "cross_attention_dim",
    "conditioning_channels",
    "conditioning_embedding_out_channels",
    "controlnet_conditioning_channel_order",
    "global_pool_conditions",
)


def write_controlnet(tensors: Mapping[str, Tensor], control: ControlNetModel, folder: Path) -> Path:
    """Write a ControlNet whose settings are those of `control`; returns the file of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    control.save_config(folder)
    values = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(values, folder / WEIGHTS, {"format": "pt"})
    return folder / WEIGHTS


def read_controlnet(folder: Path, shapes: Shapes) -> dict[str, Tensor]:
    """The weights in float32, exactly those of `shapes`. Raises BaseError."""
    return read_weights(folder / WEIGHTS, shapes)


def require_same_geometry(folder: Path, control: ControlNetModel) -> None:
    """Raise BaseError unless the folder's ControlNet has the sizes of this one."""
    path = folder / CONFIG
    try:
        config = dict(read_json(path))
    except (OSError, ValueError, TypeError) as fault:
        raise BaseError(f"{path}: cannot be read as a ControlNet's settings; fine-tune again") from fault
    for name in _GEOMETRY:
        has, needs = _plain(config.get(name, control.config[name])), _plain(control.config[name])
        if has != needs:
            raise BaseError(f"{path}: {name} is {has}, this base needs {needs}; it was made for another model")


def _plain(value: object) -> object:
    """JSON's form of a setting: it has no tuples."""
    return list(value) if isinstance(value, tuple) else value
