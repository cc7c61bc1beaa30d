"""Which optimiser learns: AdamW, or the same with its state in 8 bits for cards that hold no more."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import nn

from augment.finetune.config import FinetuneConfig
from data.errors import ConfigError


def optimizer_for(
    parameters: Sequence[nn.Parameter], config: FinetuneConfig, where: torch.device
) -> torch.optim.Optimizer:
    """The optimiser of these parameters. Raises ConfigError for one that cannot be had here."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(list(parameters), config.rate, weight_decay=config.weight_decay, fused=True)
    refuse_optimizer(config, where)
    made: torch.optim.Optimizer = importlib.import_module("bitsandbytes.optim").AdamW8bit(
        list(parameters), config.rate, weight_decay=config.weight_decay
    )
    return made


def refuse_optimizer(config: FinetuneConfig, where: torch.device) -> None:
    """Raise ConfigError for an optimiser that cannot be had on this device or in this environment."""
    if config.optimizer == "adamw":
        return
    if where.type != "cuda":
        raise ConfigError(
            f"finetune.optimizer: {config.optimizer} needs a GPU of NVIDIA's; this device is {where.type}, so set adamw"
        )
    try:
        importlib.import_module("bitsandbytes.optim")
    except Exception as fault:  # a build for another CUDA fails in ways of its own
        raise ConfigError(
            f"finetune.optimizer: {config.optimizer} needs bitsandbytes ({' '.join(str(fault).split())[:120]}); "
            "uv pip install --python .venv 'bitsandbytes>=0.45', the extra `eight-bit`, or set adamw"
        ) from fault
