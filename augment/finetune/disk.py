"""Bytes that fine-tuning writes, at most: what an adapter keeps, and its checkpoints on the way."""

from __future__ import annotations

from augment.finetune.preview import preview_bytes
from augment.methods.contract import FinetuneSettings

_MIB = 2**20


def adapter_bytes(config: FinetuneSettings, params: int, size: int) -> int:
    """Bytes on disk of one class's adapter with its previews and loss table, at most; `size` in pixels."""
    strips = config.steps // config.preview_every + 1 if config.preview_every else 0
    weights = params * config.bytes_per_param
    return weights + strips * preview_bytes(config.preview, size) + 64 * config.steps + _MIB // 4


def checkpoint_bytes(params: int, *, selects: bool = False) -> int:
    """Bytes on disk of one class's checkpoint, at most: its parameters and AdamW's two moments.

    `selects`: and the parameters of the step that is kept so far.
    """
    return (4 if selects else 3) * 4 * params + _MIB


def checkpoint_saves(config: FinetuneSettings) -> int:
    """How many checkpoints a class's training saves; from the second on, a new one is written beside the old."""
    return (config.steps - 1) // config.checkpointing_steps
