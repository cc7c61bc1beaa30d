import contextlib
import copy
import os

import pytest
import torch
from torch import nn

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


def test_parts_that_are_not_named_go_to_main_memory_first(pipe, monkeypatch):
    parts, moved = copy.deepcopy(pipe), []
    for name in device.PARTS:
        monkeypatch.setattr(getattr(parts, name), "to", lambda device, name=name: moved.append((name, str(device))))
    device.to_device_only(parts, torch.device("meta"), "unet", "vae")
    assert moved == [("text_encoder", "cpu"), ("unet", "meta"), ("vae", "meta")]
    moved.clear()
    device.offload(parts)
    assert sorted(moved) == [(name, "cpu") for name in sorted(device.PARTS)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_has_the_same_weights_in_memory_of_its_own(dtype):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    module[1].weight.requires_grad_(requires_grad=False)
    made = device.copied(module, CPU, dtype)
    for (name, own), other in zip(module.state_dict().items(), made.state_dict().values(), strict=True):
        assert other.dtype == (dtype if own.is_floating_point() else own.dtype), name
        assert torch.equal(other, own.to(other.dtype))
        assert other.data_ptr() != own.data_ptr()
        assert other.stride() == own.stride()
    assert [weight.requires_grad for weight in made.parameters()] == [True, True, False, True]
    assert not {*map(id, module.modules())} & {*map(id, made.modules())}


def test_the_device_is_the_accelerator_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_options: None)
    assert device.default_device() == CPU
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_options: torch.device("mps"))
    assert device.default_device().type == "mps"


@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_samples_in_bfloat16_only_if_asked_and_where_it_is_fast(monkeypatch, fast, expected):
    monkeypatch.setattr(device, "_cpu_has_bfloat16", lambda: fast)
    assert device.dtype_for(CPU, "fast") == expected
    assert device.dtype_for(CPU) == device.dtype_for(CPU, "float32") == torch.float32


def test_float32_can_be_asked_for_on_any_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    card = torch.device("cuda")
    assert [device.dtype_for(card, precision) for precision in ("auto", "fast", "float32")] == [
        torch.float16,
        torch.float16,
        torch.float32,
    ]


def test_compiled_kernels_are_kept_in_the_folder_unless_the_environment_names_another(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "set-before")
    device.keep_compiled(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "set-before"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    device.keep_compiled(tmp_path / "cache")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache")


def test_a_cpu_has_no_memory_of_its_own():
    assert device.spare_memory(CPU) == 0


def test_casting_warns_of_nothing_and_keeps_the_module(recwarn):
    layer = torch.nn.Linear(2, 2)
    assert device.cast(layer, torch.float16) is layer
    assert layer.weight.dtype == torch.float16
    assert not recwarn
