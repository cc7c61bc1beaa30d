import torch

from classify.device import autocast, compiles, default_device, free_bytes, steps_behind

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_processor_trains_in_32_bits_uncompiled_and_is_asked_at_once():
    with autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not compiles(CPU, 10**6)
    assert free_bytes(CPU) is None
    assert steps_behind(CPU) == 0


def test_a_gpu_is_asked_what_it_can_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for capability, steps, wanted in (((9, 0), 4000, True), ((9, 0), 100, False), ((6, 1), 4000, False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert compiles(GPU, steps) is wanted
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert not compiles(GPU, 4000)  # no triton, no compiler
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 8))
    assert free_bytes(GPU) == 5
    assert steps_behind(GPU) > 0


def test_the_device_is_torchs_accelerator_or_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert default_device() == CPU
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: GPU)
    assert default_device() == GPU
