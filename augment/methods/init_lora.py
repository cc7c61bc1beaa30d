"""Another program's LoRA as the start of a fine-tune: a file of the webui, kohya's sd-scripts, civitai or diffusers.

Every layer of the file must be one of this base that is trained, so that training starts from exactly what the file
draws; alpha / rank is folded into B, as this program's alpha is its rank. What such a file was trained on is not known.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from augment.base.identity import same_weights
from augment.methods.kohya_names import kohya_name
from augment.methods.lora_layers import lora_keys, lora_shapes
from augment.methods.record import AdapterRecord
from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import file_sha256

_OTHER_KINDS = {"hada_": "LoHa", "lokr_": "LoKr", "dora_scale": "DoRA", "oft_": "OFT", "glora": "GLoRA"}
_FACTORS = {"lora_down.weight": "down", "lora_up.weight": "up", "alpha": "alpha"}
_BOTH = {"down", "up"}
_TEXT = "text_model."


@dataclass(frozen=True)
class _Update:
    """What a file adds to one layer: alpha / rank B A."""

    down: Tensor
    up: Tensor
    alpha: float | None  # None: the rank

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def read_init_lora(
    path: Path, pipe: StableDiffusionPipeline, targets: Mapping[str, nn.Linear | nn.Conv2d], rank: int
) -> dict[str, Tensor]:
    """A and B in float32 of the file's layers, by the names of `lora_keys`; of its own rank, which may be a lower one.

    `targets`: the layers that are trained. Raises BaseError for a file that does not fit the base or the settings.
    """
    updates = _updates(path, pipe)
    _require_trained(path, updates, targets)
    found: dict[str, Tensor] = {}
    for layer, update in updates.items():
        if update.rank > rank:
            raise BaseError(f"{_where(path)}: has rank {update.rank} in {layer}; set finetune.rank: {update.rank}")
        shape = tuple(targets[layer].weight.shape)
        keys, shapes = lora_keys(layer), lora_shapes({layer: shape}, update.rank)
        scale = 1.0 if update.alpha is None else update.alpha / update.rank
        for key, factor in zip(keys, (update.down, scale * update.up.float()), strict=True):
            found[key] = _reshaped(path, key, factor.float(), shapes[key])
    return found


def with_start(drawn: Tensor, start: Tensor | None) -> Tensor:
    """A factor as it is drawn, with the file's in its place; the rest of a lower-rank one stays as drawn."""
    if start is not None:
        drawn[tuple(slice(size) for size in start.shape)] = start
    return drawn


def init_provenance(path: Path, base: Mapping[str, Any]) -> Provenance:
    """What the file was trained on: known of an adapter of this program that lies in its folder, else unknown.

    `base`: the identity of the study's, whose own provenance the study knows; another's may have seen anything.
    """
    try:
        record = AdapterRecord.read(path.parent)
    except BaseError:
        return Provenance.unknown()
    known = path.is_file() and record.sha256 == file_sha256(path)
    if not known:
        return Provenance.unknown()
    return record.seen if same_weights(record.base, base) else record.seen | Provenance.unknown()


def _updates(path: Path, pipe: StableDiffusionPipeline) -> dict[str, _Update]:
    """The file's updates by layers of the base, whatever program's names it has. Raises BaseError."""
    tensors, metadata = _read(path)
    layers = [
        f"{part}.{name}"
        for part in ("unet", "text_encoder")
        for name, layer in getattr(pipe, part).named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    kohya = all(name.startswith("lora_") for name in tensors)
    found = _of_kohya(tensors, layers) if kohya else _of_diffusers(tensors, metadata, layers)
    foreign = sorted(name for name, parts in found.items() if name not in layers or parts.keys() - {"alpha"} != _BOTH)
    if foreign or not found:
        first = f" (first {foreign[0]})" if foreign else ""
        raise BaseError(
            f"{_where(path)}: {len(foreign)} of its {len(found)} layers are none of this base{first}; "
            "it was made for another model, so take base.source of that one, or another file"
        )
    return {name: _Update(parts["down"], parts["up"], _number(parts.get("alpha"))) for name, parts in found.items()}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise BaseError(
            f"{_where(path)}: cannot be read as safetensors ({reason}); name a LoRA's .safetensors"
        ) from fault
    for part, kind in _OTHER_KINDS.items():
        if any(part in name for name in tensors):
            raise BaseError(f"{_where(path)}: is a {kind}, and only a plain LoRA can be a start; name one")
    if any(value is True for name, value in _settings(metadata or {}).items() if name.endswith("use_rslora")):
        raise BaseError(f"{_where(path)}: is a rank-stabilised LoRA, and only a plain one can be a start; name one")
    if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise BaseError(f"{_where(path)}: {broken[0]} holds numbers that are not finite; fetch it anew")
    return tensors, metadata or {}


def _settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The settings of peft, by names such as unet.lora_alpha, which diffusers writes into the metadata."""
    return dict(json.loads(metadata.get("lora_adapter_metadata", "{}")))


def _of_kohya(tensors: Mapping[str, Tensor], layers: Collection[str]) -> dict[str, dict[str, Any]]:
    """Factors by layers; a layer that the base lacks keeps the file's name."""
    names = {kohya_name(layer): layer for layer in layers}
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.replace("lora_te1_", "lora_te_").partition(".")
        if layer.startswith("lora_te_encoder"):  # of diffusers' converter, with transformers 5
            layer = layer.replace("lora_te_", "lora_te_text_model_")
        found.setdefault(names.get(layer, layer), {})[_FACTORS.get(kind, kind)] = tensor
    return found


def _of_diffusers(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], layers: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The same of diffusers' names, old or new; alpha is in the metadata, if it is not the rank."""
    settings = _settings(metadata)
    known = {layer.replace(_TEXT, ""): layer for layer in layers}
    found: dict[str, dict[str, Any]] = {name: {} for name in tensors if not name.startswith(("unet.", "text_encoder."))}
    for part in ("unet", "text_encoder"):
        own = {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
        for name, factor in _as_peft(part, own).items():
            path, _, kind = name.partition(".lora_")
            layer = known.get(f"{part}.{path.removeprefix(_TEXT)}", f"{part}.{path}")
            alpha = settings.get(f"{part}.alpha_pattern", {}).get(path, settings.get(f"{part}.lora_alpha"))
            found.setdefault(layer, {"alpha": alpha})["down" if kind.startswith("A") else "up"] = factor
    return found


def _as_peft(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under peft's names, which end in lora_A.weight and lora_B.weight."""
    if not tensors or all(".lora_A." in name or ".lora_B." in name for name in tensors):
        return tensors
    if part == "unet":
        return dict(convert_unet_state_dict_to_peft(tensors))
    return dict(convert_state_dict_to_peft(convert_state_dict_to_diffusers(tensors)))


def _require_trained(path: Path, updates: Mapping[str, _Update], targets: Collection[str]) -> None:
    missing = [layer for layer in updates if layer not in targets]
    if not missing:
        return
    text = missing[0].startswith("text_encoder.")
    fix = "set finetune.text_encoder: true" if text else "set finetune.conv_layers: true, or name another file"
    raise BaseError(
        f"{_where(path)}: also updates {len(missing)} layers that are not trained (first {missing[0]}); {fix}"
    )


def _reshaped(path: Path, key: str, factor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A linear layer's factor for a 1 x 1 convolution and the reverse. Raises BaseError for any other shape."""
    trim = [size for size in factor.shape if size > 1], [size for size in shape if size > 1]
    if trim[0] != trim[1]:
        raise BaseError(
            f"{_where(path)}: {key} has the shape {tuple(factor.shape)}, this base needs {shape}; "
            "it was made for another model"
        )
    return factor.reshape(shape)


def _number(alpha: Any) -> float | None:  # noqa: ANN401 - a tensor, a number or None
    return None if alpha is None else float(alpha)


def _where(path: Path) -> str:
    return f"finetune.init_lora: {path}"
