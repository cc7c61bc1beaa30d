"""Device and precision of the models: chosen in this module alone, from the device's capabilities."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

Precision = Literal["auto", "fast", "float32"]  # of sampling
Module = TypeVar("Module", bound=nn.Module)
PARTS = ("unet", "vae", "text_encoder")  # of a pipeline: those with weights
_TENSOR_CORES = (7, 0)  # CUDA capability from which 16-bit products are faster, and the compiler works


def default_device() -> torch.device:
    """The accelerator, if torch sees one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def dtype_for(device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """Precision of sampling: float16 on tensor cores, float32 elsewhere.

    float16 keeps three bits more than bfloat16, which show in smooth skin. On a CPU bfloat16 can be a
    hundred times slower than float32, and where it is fast the images would differ from those of other CPUs:
    there it is used for `fast` alone.
    """
    if precision == "float32":
        return torch.float32
    if precision == "fast" and device.type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float16 if _has_tensor_cores(device) else torch.float32


def training_dtype(device: torch.device) -> torch.dtype:
    """Precision of frozen weights and of products in training: bfloat16, which needs no loss scaling, or float32."""
    native = _has_tensor_cores(device) and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Products in `training_dtype`, sums and norms in float32."""
    dtype = training_dtype(device)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def pretraining_autocast(device: torch.device) -> torch.autocast:
    """bfloat16 products wherever they are fast, CPUs with bfloat16 units included.

    For training that is done once and whose result is kept: it need not give the same bits on every machine.
    """
    fast = _cpu_has_bfloat16() if device.type == "cpu" else _has_tensor_cores(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def compiles(device: torch.device) -> bool:
    """Whether torch.compile pays for itself on this device; on a small CPU it costs more time than it saves."""
    return _has_tensor_cores(device) and importlib.util.find_spec("triton") is not None


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module's call, compiled where that pays; the module itself is not changed, for other batch shapes."""
    if not compiles(next(module.parameters()).device):
        return module
    made = torch.compile(module, dynamic=False)

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the module's own
        with warnings.catch_warnings():  # the compiler reads the gradient of a tensor that is not a leaf, and warns
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            return made(*args, **kwargs)

    return call


def offload(pipe: StableDiffusionPipeline) -> None:
    """Move all parts of a pipeline to main memory."""
    to_device_only(pipe, torch.device("cpu"))


def to_device_only(pipe: StableDiffusionPipeline, device: torch.device, *names: str) -> None:
    """Move the named parts of a pipeline to a device; the others go to main memory, and go first to make room."""
    for name in sorted(PARTS, key=lambda name: name in names):
        getattr(pipe, name).to(device if name in names else "cpu")
    free_memory()


def copied(module: Module, device: torch.device, dtype: torch.dtype) -> Module:
    """A copy of a module on a device and in a precision, made one tensor at a time: no second whole copy is held."""
    made: dict[int, Tensor] = {}
    for weight in module.parameters():
        value = weight.detach().to(device, dtype if weight.is_floating_point() else weight.dtype, copy=True)
        made[id(weight)] = nn.Parameter(value, requires_grad=weight.requires_grad)
    for buffer in module.buffers():
        made[id(buffer)] = buffer.to(device, dtype if buffer.is_floating_point() else buffer.dtype, copy=True)
    return copy.deepcopy(module, made)


def to_device(pipe: StableDiffusionPipeline, device: torch.device, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Move a pipeline in place and cast it; convolutions get the memory layout that is fastest on the device."""
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        cast(part, dtype).to(device)
    if device.type in {"cpu", "cuda"}:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return pipe


def spare_memory(device: torch.device) -> int:
    """Bytes that are free on a CUDA device; 0 on other devices, which cannot be asked."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def free_memory() -> None:
    """Empty the accelerator's cache of allocated memory, if there is an accelerator."""
    if default_device().type != "cpu":
        torch.accelerator.empty_cache()


def keep_compiled(folder: Path) -> None:
    """Keep compiled kernels in a folder for later processes; TORCHINDUCTOR_CACHE_DIR wins if it is set already."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))


def cast(module: Module, dtype: torch.dtype) -> Module:
    """Change a module's precision in place."""
    return nn.Module.to(module, dtype)  # diffusers' own warns of a list of exceptions that is empty here


def _has_tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _TENSOR_CORES


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public function tells
