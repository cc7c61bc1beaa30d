"""Files of hypernetworks: the web UI's .pt, and the same as safetensors.

Tensors have names such as 320.k.linear.0.weight: the width, whether of keys or of values, and the layer.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from augment.methods.hypernetwork_layers import HypernetworkModule, HypernetworkShape
from augment.methods.weights import require_fit
from data.errors import BaseError

_KINDS = ("k", "v")
_SHAPE = "hypernetwork"  # the key of the shape in safetensors' metadata
_HIDDEN = 0.3  # the web UI's dropout where a file says that there is one, but not how much


def write_hypernetwork(tensors: Mapping[str, Tensor], shape: HypernetworkShape, path: Path) -> Path:
    """Write safetensors in float32, with the shape beside the tensors; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(values, path, {_SHAPE: json.dumps(dataclasses.asdict(shape))})
    return path


def write_webui_hypernetwork(
    tensors: Mapping[str, Tensor],
    shape: HypernetworkShape,
    path: Path,
    *,
    step: int = 0,
    checkpoint: str = "",
) -> Path:
    """Write the web UI's .pt, whose name is its file's; returns the path.

    `step` counts the steps that it was trained for, `checkpoint` names the base.
    """
    values: dict[Any, Any] = {}
    for width in widths_of(tensors):
        values[width] = tuple(
            {
                name.removeprefix(f"{width}.{kind}."): tensor.detach().float().cpu().contiguous()
                for name, tensor in tensors.items()
                if name.startswith(f"{width}.{kind}.")
            }
            for kind in _KINDS
        )
    dropout = list(shape.dropout) or [0.0] * len(shape.layer_structure)
    values |= {
        "step": step,
        "name": path.stem,
        "layer_structure": list(shape.layer_structure),
        "activation_func": shape.activation,
        "is_layer_norm": shape.layer_norm,
        "sd_checkpoint": None,
        "sd_checkpoint_name": checkpoint or None,
        "activate_output": shape.activate_output,
        "use_dropout": any(dropout),
        "dropout_structure": dropout,
        "last_layer_dropout": dropout[-2] != 0,
        "optional_info": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(values, path)
    return path


def read_hypernetwork(path: Path) -> tuple[HypernetworkShape, dict[str, Tensor]]:
    """Shape and tensors, in float32, of either form. Raises BaseError for a file that is none, or not finite."""
    try:
        shape, tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_webui(path)
    except pickle.UnpicklingError as fault:
        raise BaseError(f"{path}: holds more than tensors and numbers, so loading it could run code") from fault
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError) as fault:
        reason = " ".join(str(fault).split())[:160]
        raise BaseError(f"{path}: cannot be read as a hypernetwork ({reason}); take another file") from fault
    require_fit(path, tensors, _shapes(shape, widths_of(tensors)))
    return shape, {name: tensor.float() for name, tensor in tensors.items()}


def widths_of(tensors: Mapping[str, Tensor]) -> list[int]:
    """The widths that there are networks for, ascending."""
    return sorted({int(name.partition(".")[0]) for name in tensors})


def _shapes(shape: HypernetworkShape, widths: list[int]) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes by name."""
    with torch.device("meta"):
        networks = {width: HypernetworkModule(width, shape) for width in widths}
    return {
        f"{width}.{kind}.{name}": tuple(parameter.shape)
        for width, network in networks.items()
        for kind in _KINDS
        for name, parameter in network.named_parameters()
    }


def _read_safetensors(path: Path) -> tuple[HypernetworkShape, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        known = json.loads((file.metadata() or {})[_SHAPE])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    sequences = {name: tuple(known[name]) for name in ("layer_structure", "dropout")}
    return HypernetworkShape(**{**known, **sequences}), tensors


def _read_webui(path: Path) -> tuple[HypernetworkShape, dict[str, Tensor]]:
    """The web UI's file, with its own values for what older files lack."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a newer pickle's protocol, which torch then reads or refuses
        values: dict[Any, Any] = torch.load(path, map_location="cpu", weights_only=True)
    structure = tuple(values.get("layer_structure") or (1, 2, 1))
    dropout = values.get("dropout_structure")
    if dropout is None and values.get("use_dropout", False):
        last = _HIDDEN if values.get("last_layer_dropout", False) else 0.0
        dropout = [0.0, *[_HIDDEN] * (len(structure) - 3), last, 0.0]
    shape = HypernetworkShape(
        layer_structure=structure,
        activation=(values.get("activation_func") or "linear").lower(),
        layer_norm=bool(values.get("is_layer_norm", False)),
        activate_output=bool(values.get("activate_output", True)),
        dropout=tuple(dropout) if dropout and any(dropout) else (),
    )
    tensors = {
        f"{width}.{kind}.{_renamed(name)}": tensor
        for width, networks in values.items()
        if isinstance(width, int)
        for kind, network in zip(_KINDS, networks, strict=True)
        for name, tensor in network.items()
    }
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError("it has no networks")
    return shape, tensors


def _renamed(name: str) -> str:
    """The oldest files call the two layers linear1 and linear2."""
    return re.sub(r"^linear([12])\.", lambda found: f"linear.{int(found[1]) - 1}.", name)
