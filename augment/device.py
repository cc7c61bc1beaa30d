"""Where the models run and in which precision: decided here alone, from what the device can do."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

Precision = Literal["auto", "fast", "float32"]  # of sampling
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
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.to("cpu")
    release()


def wake(pipe: StableDiffusionPipeline, where: torch.device, *, unet: bool = True) -> None:
    """Bring them back, the UNet only if it is needed."""
    for part in (pipe.vae, pipe.text_encoder, *([pipe.unet] if unet else [])):
        part.to(where)


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


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Change a module's precision in place."""
    return nn.Module.to(module, dtype)  # diffusers' own warns of a list of exceptions that is empty here


def _has_tensor_cores(where: torch.device) -> bool:
    return where.type == "cuda" and torch.cuda.get_device_capability(where) >= _TENSOR_CORES


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public question exists
