"""The optimizer: AdamW, or the same with its state in 8 bits for GPUs with little memory."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import nn

from augment.methods.contract import FinetuneSettings
from data.errors import ConfigError


def optimizer_for(
    parameters: Sequence[nn.Parameter], config: FinetuneSettings, device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer of these parameters. Raises ConfigError for one that is not available here."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(list(parameters), config.learning_rate, weight_decay=config.weight_decay, fused=True)
    require_optimizer(config, device)
    made: torch.optim.Optimizer = importlib.import_module("bitsandbytes.optim").AdamW8bit(
        list(parameters), config.learning_rate, weight_decay=config.weight_decay
    )
    return made


def require_optimizer(config: FinetuneSettings, device: torch.device) -> None:
    """Raise ConfigError for an optimizer that is not available on this device or in this environment."""
    if config.optimizer == "adamw":
        return
    if device.type != "cuda":
        raise ConfigError(
            f"finetune.optimizer: {config.optimizer} needs an NVIDIA GPU; this device is {device.type}, so set adamw"
        )
    try:
        importlib.import_module("bitsandbytes.optim")
    except Exception as error:  # a build for another CUDA fails in ways of its own
        raise ConfigError(
            f"finetune.optimizer: {config.optimizer} needs bitsandbytes ({' '.join(str(error).split())[:120]}); "
            "uv pip install --python .venv 'bitsandbytes>=0.45', the extra `eight-bit`, or set adamw"
        ) from error
