"""Files of learnt words: diffusers' safetensors of one tensor, and the web UI's .pt.

A word is called by its file's name in the web UI, so the name inside a file decides nothing here.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.errors import BaseError

SUFFIXES = (".safetensors", ".pt", ".bin")
_PLACEHOLDER = 265  # the web UI's token of `*`


def write_embedding(vectors: Float[Tensor, "n width"], word: str, path: Path) -> Path:
    """Write a word as diffusers does, {word: vectors} in float32; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({word: vectors.detach().float().cpu().contiguous()}, path)
    return path


def write_webui_embedding(
    vectors: Float[Tensor, "n width"], word: str, path: Path, *, step: int = 0, checkpoint: str = ""
) -> Path:
    """Write a word as the web UI's .pt, where its file's name is the word; returns the path.

    `step` counts the steps that it was trained for, `checkpoint` names the base.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "string_to_token": {"*": _PLACEHOLDER},
        "string_to_param": {"*": vectors.detach().float().cpu().contiguous()},
        "name": word,
        "step": step,
        "sd_checkpoint": None,
        "sd_checkpoint_name": checkpoint or None,
    }
    torch.save(values, path)
    return path


def read_embedding(path: Path, width: int) -> Float[Tensor, "n {width}"]:
    """A word's vectors in float32, for a text encoder of this width. Raises BaseError."""
    tensor = _one_tensor(path, _load(path))
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2 or not len(tensor):  # noqa: PLR2004 - vectors by width
        raise BaseError(f"{path}: holds a tensor of shape {tuple(tensor.shape)}, not vectors; take another file")
    if tensor.shape[1] != width:
        raise BaseError(
            f"{path}: its vectors have {tensor.shape[1]} numbers, but the base's words have {width}; "
            "take an embedding that was made for this base"
        )
    if not torch.isfinite(tensor).all():
        raise BaseError(f"{path}: holds numbers that are not finite; train it again or take another file")
    return tensor.detach().float()


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever a file holds
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([nn.ParameterDict]), warnings.catch_warnings():  # older files have it
            warnings.simplefilter("ignore")  # of a newer pickle's protocol, which torch then reads or refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        raise BaseError(
            f"{path}: is no file of tensors alone, so loading it could run code; take it as .safetensors"
        ) from fault
    except Exception as fault:  # the unpickler raises whatever the bytes make it
        raise BaseError(
            f"{path}: cannot be read ({type(fault).__name__} {' '.join(str(fault).split())[:120]}); fetch it anew"
        ) from fault


def _one_tensor(path: Path, values: Any) -> Tensor:  # noqa: ANN401 - whatever a file holds
    """The tensor of either form."""
    if isinstance(values, Mapping) and "string_to_param" in values:
        values = values["string_to_param"]
    if isinstance(values, nn.ParameterDict):
        values = values._parameters  # noqa: SLF001 - an older torch's lacks the keys that the mapping goes by
    tensors = list(values.values()) if isinstance(values, Mapping) else []
    if len(tensors) != 1 or not isinstance(tensors[0], Tensor):
        raise BaseError(
            f"{path}: holds {len(tensors)} entries, where a word's file has one tensor; take an embedding for Stable "
            "Diffusion 1 or 2"
        )
    return tensors[0]
