"""The methods by name, and the way back from a saved adapter to its method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.base.identity import same_weights
from augment.methods.contract import Adapter, FinetuneSettings
from augment.methods.controlnet import ControlNetConfig
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from augment.methods.lycoris import LohaConfig, LokrConfig
from augment.methods.record import RECORD, AdapterRecord
from augment.methods.textual_inversion import TextualInversionConfig
from data.config import parse
from data.errors import BaseError

# A method is its file beside this one and a row here.
METHODS: dict[str, type[FinetuneSettings]] = {
    "lora": LoraConfig,
    "dreambooth": DreamBoothConfig,
    "loha": LohaConfig,
    "lokr": LokrConfig,
    "textual-inversion": TextualInversionConfig,
    "hypernetwork": HypernetworkConfig,
    "controlnet": ControlNetConfig,
}


def read_adapter(folder: Path, base: Mapping[str, Any]) -> Adapter:
    """The adapter in a folder, for the base of this identity. Raises BaseError if it was made for another one."""
    record = AdapterRecord.read(folder)
    if not same_weights(record.base, base):
        raise BaseError(
            f"{folder}: was made for the base {_name(record.base)}, not for {_name(base)}; "
            "set base.source to that one or fine-tune again"
        )
    return read_settings(folder, record).adapter(folder)


def read_settings(folder: Path, record: AdapterRecord) -> FinetuneSettings:
    """The settings that the adapter in a folder was trained with. Raises BaseError for an unknown method."""
    method = METHODS.get(record.method)
    if method is None:
        raise BaseError(f"{folder / RECORD}: method {record.method!r} is none of {', '.join(METHODS)}; fine-tune again")
    return parse(method, record.config, str(folder / RECORD))


def _name(base: Mapping[str, Any]) -> str:
    version = base.get("sha256") or base.get("revision") or "unknown"
    return f"{base.get('source', 'unknown')} ({str(version)[:12]})"
