import contextlib

import pytest
import torch

from augment import device

CPU = torch.device("cpu")


def test_a_cpu_works_in_float32_without_compiling():
    assert device.dtype_for(CPU) == device.training_dtype(CPU) == torch.float32
    assert not device.compiles(CPU)
    assert isinstance(device.autocast(CPU), contextlib.nullcontext)


@pytest.mark.parametrize(
    ("capability", "native", "sampling", "training"),
    [
        ((6, 1), False, torch.float32, torch.float32),
        ((7, 5), False, torch.float16, torch.float32),
        ((9, 0), True, torch.float16, torch.bfloat16),
    ],
)
def test_precision_follows_from_what_a_card_can_do(monkeypatch, capability, native, sampling, training):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_options: native)
    card = torch.device("cuda")
    assert device.dtype_for(card) == sampling
    assert device.training_dtype(card) == training


def test_the_device_is_the_accelerator_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_options: None)
    assert device.device() == CPU
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_options: torch.device("mps"))
    assert device.device().type == "mps"


def test_casting_says_nothing_and_keeps_the_module(recwarn):
    layer = torch.nn.Linear(2, 2)
    assert device.cast(layer, torch.float16) is layer
    assert layer.weight.dtype == torch.float16
    assert not recwarn
