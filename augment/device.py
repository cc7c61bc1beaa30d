"""Where the models run and in which precision: decided here alone, from what the device can do."""

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


def device() -> torch.device:
    """The accelerator, if torch sees one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def dtype_for(where: torch.device, precision: Precision = "auto") -> torch.dtype:
    """Precision of sampling: float16 on tensor cores, float32 elsewhere.

    float16 keeps three bits more than bfloat16, which show in smooth skin. On a CPU bfloat16 can be a
    hundred times slower than float32, and where it is fast the images would differ from other CPUs': it is
    taken there for `fast` alone.
    """
    if precision == "float32":
        return torch.float32
    if precision == "fast" and where.type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float16 if _has_tensor_cores(where) else torch.float32


def training_dtype(where: torch.device) -> torch.dtype:
    """Precision of what is frozen and of products in training: bfloat16, which needs no loss scaling, or float32."""
    native = _has_tensor_cores(where) and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32


def autocast(where: torch.device) -> contextlib.AbstractContextManager[object]:
    """Products in `training_dtype`, sums and norms in float32."""
    dtype = training_dtype(where)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(where.type, dtype)


def pretraining_autocast(where: torch.device) -> torch.autocast:
    """bfloat16 products wherever they are fast, CPUs with bfloat16 units included.

    For training that is done once, whose result is kept: its bits need not be another machine's.
    """
    fast = _cpu_has_bfloat16() if where.type == "cpu" else _has_tensor_cores(where)
    return torch.autocast(where.type, torch.bfloat16, enabled=fast)


def compiles(where: torch.device) -> bool:
    """Whether torch.compile pays for itself on this device; on a small CPU it costs more than it brings."""
    return _has_tensor_cores(where) and importlib.util.find_spec("triton") is not None


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module's call, compiled where that pays; the module itself stays as it is, for other batch shapes."""
    if not compiles(next(module.parameters()).device):
        return module
    made = torch.compile(module, dynamic=False)

    def call(*given: Any, **options: Any) -> Any:  # noqa: ANN401 - the module's own
        with warnings.catch_warnings():  # the compiler looks at the gradient of what is no leaf, and warns itself
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            return made(*given, **options)

    return call


def rest(pipe: StableDiffusionPipeline) -> None:
    """Let a pipeline's parts wait in main memory."""
    settle(pipe, torch.device("cpu"))


def settle(pipe: StableDiffusionPipeline, where: torch.device, *needed: str) -> None:
    """Bring the parts that are needed to a device; the others wait in main memory, and go there first."""
    for name in sorted(PARTS, key=lambda name: name in needed):
        getattr(pipe, name).to(where if name in needed else "cpu")
    release()


def copied(module: Module, where: torch.device, dtype: torch.dtype) -> Module:
    """A copy of a module on a device and in a precision, made a weight at a time: no other whole copy comes to be."""
    made: dict[int, Tensor] = {}
    for weight in module.parameters():
        own = weight.detach().to(where, dtype if weight.is_floating_point() else weight.dtype, copy=True)
        made[id(weight)] = nn.Parameter(own, requires_grad=weight.requires_grad)
    for values in module.buffers():
        made[id(values)] = values.to(where, dtype if values.is_floating_point() else values.dtype, copy=True)
    return copy.deepcopy(module, made)


def place(pipe: StableDiffusionPipeline, where: torch.device, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Move a pipeline, in place, with convolutions in the layout that is fastest there."""
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        cast(part, dtype).to(where)
    if where.type in {"cpu", "cuda"}:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return pipe


def spare_memory(where: torch.device) -> int:
    """Bytes that are free on an accelerator; 0 where that cannot be asked, as on a CPU."""
    return int(torch.cuda.mem_get_info(where)[0]) if where.type == "cuda" else 0


def release() -> None:
    """Give memory that torch keeps for later back to the accelerator, if there is one."""
    if device().type != "cpu":
        torch.accelerator.empty_cache()


def keep_compiled(folder: Path) -> None:
    """Let what is compiled be kept in a folder, for later processes too; a place set from outside stays."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))


def cast(module: Module, dtype: torch.dtype) -> Module:
    """Change a module's precision in place."""
    return nn.Module.to(module, dtype)  # diffusers' own warns of a list of exceptions that is empty here


def _has_tensor_cores(where: torch.device) -> bool:
    return where.type == "cuda" and torch.cuda.get_device_capability(where) >= _TENSOR_CORES


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public question exists
