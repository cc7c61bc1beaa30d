"""Where classifiers run, in which precision and whether compiled: decided here alone, from what the device can do."""

import importlib.util

import torch

_COMPILER = (7, 0)  # CUDA capability from which the compiler works
_COMPILE_FROM = 2000  # steps; below, compiling takes longer than it saves (an estimate, not measured)


def default_device() -> torch.device:
    """The accelerator, if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 products where a GPU has units for them.

    Never on a CPU: depthwise convolutions run at half the speed there in 16 bits, with AMX too.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and _has_bfloat16())


def compiles(device: torch.device, steps: int) -> bool:
    """Whether compiling a network pays for itself in a training of so many steps; never on a CPU."""
    able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _COMPILER
    return able and steps >= _COMPILE_FROM and importlib.util.find_spec("triton") is not None


def free_bytes(device: torch.device) -> int | None:
    """Free bytes of a CUDA device's own memory; None for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def steps_behind(device: torch.device) -> int:
    """By how many steps reading a loss is delayed: reading it at once would synchronise a GPU with the CPU."""
    return 0 if device.type == "cpu" else 2


def _has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
