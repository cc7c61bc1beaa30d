import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from augment.finetune.optimizers import optimizer_for, require_optimizer
from augment.methods.lora import LoraConfig
from data.errors import ConfigError

EIGHT = LoraConfig(optimizer="adamw-8bit", weight_decay=0.5, learning_rate=0.25)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_adamw_is_the_default():
    made = optimizer_for([nn.Parameter(torch.zeros(2))], LoraConfig(), CPU)
    assert isinstance(made, torch.optim.AdamW)


def test_eight_bits_are_refused_without_a_gpu_and_without_the_library(monkeypatch):
    with pytest.raises(
        ConfigError, match=r"^finetune\.optimizer: adamw-8bit needs an NVIDIA GPU; this device is cpu, so set adamw$"
    ):
        require_optimizer(EIGHT, CPU)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ConfigError, match=r"needs bitsandbytes \(.*\); uv pip install .* or set adamw$"):
        require_optimizer(EIGHT, GPU)


def test_eight_bits_are_bitsandbytes_own(monkeypatch):
    class AdamW8bit(torch.optim.AdamW):
        """Stands in for the library's, which needs a GPU."""

    library = SimpleNamespace(AdamW8bit=AdamW8bit)
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=library))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", library)
    made = optimizer_for([nn.Parameter(torch.zeros(2))], EIGHT, GPU)
    assert isinstance(made, AdamW8bit)
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.25, 0.5)
