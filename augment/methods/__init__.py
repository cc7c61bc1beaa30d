"""Ways to teach a base one class from a few images, behind one contract: open, save, apply.

A method never changes the pipeline it is given: it copies the parts that it trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from augment.methods.dreambooth import DreamBooth
from augment.methods.lora import Lora
from data.errors import BaseError
from data.store import read_json

RECORD = "adapter.json"


@runtime_checkable
class Method(Protocol):
    """One way to personalise a base."""

    def open(self, pipe: StableDiffusionPipeline, seed: int) -> StableDiffusionPipeline:
        """A pipeline that can be trained, from a frozen one: what asks for gradients is its own, in float32."""

    def save(self, pipe: StableDiffusionPipeline, folder: Path) -> Path:
        """Write what was trained; gives the file that tells one adapter from another."""

    def apply(self, pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """A float32 pipeline with what was saved in place. Raises BaseError for weights that do not fit it."""

    def touched(self, pipe: StableDiffusionPipeline) -> list[str]:
        """Names, such as unet.conv_in.weight, of what an adapter changes."""

    def merged(self, plain: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """The same with what was saved in place, from the base's own in float32. Raises BaseError."""


def method_for(method: str, *, rank: int = 16, conv: bool = True, text_encoder: bool = False) -> Method:
    """The method of that name; rank and conv are LoRA's."""
    if method == "lora":
        return Lora(rank=rank, conv=conv, text_encoder=text_encoder)
    if method == "dreambooth":
        return DreamBooth(text_encoder=text_encoder)
    raise ValueError(f"method {method!r} is neither lora nor dreambooth")


def trained(pipe: StableDiffusionPipeline) -> dict[str, nn.Parameter]:
    """The parameters that ask for gradients, by name, in a fixed order."""
    return {
        f"{part}.{name}": parameter
        for part in ("unet", "text_encoder")
        for name, parameter in getattr(pipe, part).named_parameters()
        if parameter.requires_grad
    }


def read_record(folder: Path) -> dict[str, Any]:
    """What fine-tuning wrote beside an adapter. Raises BaseError."""
    try:
        return dict(read_json(folder / RECORD))
    except (OSError, ValueError) as fault:
        raise BaseError(
            f"{folder}: no finished adapter ({RECORD} is missing or broken); run its fine-tuning"
        ) from fault


def apply_adapter(pipe: StableDiffusionPipeline, folder: Path, base: dict[str, Any]) -> StableDiffusionPipeline:
    """A pipeline with a fine-tuned class in place. Raises BaseError if it was made for another base."""
    return method_of(folder, base).apply(pipe, folder)


def method_of(folder: Path, base: dict[str, Any]) -> Method:
    """The method that an adapter was made by, with its own settings. Raises BaseError if that was for another base."""
    record = read_record(folder)
    if not _same(record["base"], base):
        raise BaseError(
            f"{folder}: was made for the base {_name(record['base'])}, not for {_name(base)}; "
            "set base.source to that one or fine-tune again"
        )
    config = record["config"]
    options = {name: config[name] for name in ("rank", "conv", "text_encoder")}
    return method_for(record["method"], **options)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the weights are the same, wherever they lie; a hub id and its revision stand for theirs."""
    if "sha256" in one and "sha256" in other:
        return bool(one["sha256"] == other["sha256"])
    return one == other


def _name(base: dict[str, Any]) -> str:
    mark = base.get("sha256") or base.get("revision") or "unknown"
    return f"{base.get('source', 'unknown')} ({str(mark)[:12]})"
