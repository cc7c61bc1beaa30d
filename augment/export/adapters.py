"""A class's finished adapter as files of another program: a LoRA file, a LyCORIS file, or the whole model.

Nothing of an adapter's record is written: it holds ids of images, lesions and patients.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from augment.base.config import BaseConfig
from augment.base.load import require_finite
from augment.base.train import save_pipeline
from augment.device import PARTS, cast
from augment.export.lora_file import kohya_lora, metadata, write_safetensors
from augment.export.single_file import original_layout
from augment.generate.config import GenerateConfig
from augment.generate.pipeline import AdapterPipeline
from augment.methods.lora_files import FILE as LORA_FILE
from augment.methods.record import AdapterRecord
from data.errors import BaseError
from data.store import file_sha256

Program = Literal["webui", "kohya", "diffusers"]
Kind = Literal["lora", "lycoris", "checkpoint", "lora folder", "pipeline"]
PROGRAMS: tuple[str, ...] = get_args(Program)
_KINDS: dict[str, tuple[Kind, Kind]] = {  # by method: for the webui and kohya, and for diffusers
    "lora": ("lora", "lora folder"),
    "loha": ("lycoris", "pipeline"),  # diffusers reads no LoHa or LoKr of a Stable Diffusion 1.x
    "lokr": ("lycoris", "pipeline"),
    "dreambooth": ("checkpoint", "pipeline"),
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written for one class."""

    kind: Kind
    files: tuple[Path, ...]  # what the program is given: a file, or a folder


def kind_of(method: str, program: Program) -> Kind:
    """What an adapter of this method becomes for a program. Raises BaseError for a method that has no other form."""
    if method not in _KINDS:
        raise BaseError(f"adapters of the method {method} have no other form; those of {', '.join(_KINDS)} have")
    return _KINDS[method][program == "diffusers"]


def export_adapter(
    folder: Path, *, base: BaseConfig, program: Program, out: Path, name: str, ckpt: bool = False
) -> Exported:
    """Write the adapter in `folder` for a program into the folder `out`, a file under `name` without its ending.

    `ckpt`: beside a whole model's .safetensors a .ckpt too, a pickle. The base is loaded only for a whole model. Raises
    BaseError for an adapter that is not finished or was changed, or whose base cannot be had.
    """
    record = AdapterRecord.read(folder)
    kind = kind_of(record.method, program)
    _require_intact(folder, record)
    out.mkdir(parents=True, exist_ok=True)
    if kind == "lora folder":
        shutil.copyfile(folder / record.weights, out / LORA_FILE)
        return Exported(kind=kind, files=(out,))
    if kind in {"lora", "lycoris"}:
        tensors = load_file(folder / record.weights)
        if kind == "lora":
            tensors = kohya_lora(tensors, record.config["rank"])
        path = out / f"{name}.safetensors"
        write_safetensors(tensors, path, metadata(record, name, tensors))
        return Exported(kind=kind, files=(path,))
    pipe = merged_pipeline(base, folder)
    if kind == "pipeline":
        save_pipeline(pipe, out)
        return Exported(kind=kind, files=(out,))
    return Exported(kind=kind, files=_write_checkpoint(pipe, out, name, ckpt=ckpt))


def merged_pipeline(base: BaseConfig, folder: Path) -> StableDiffusionPipeline:
    """The base with the adapter's weights in place, in 16 bits on the CPU. Raises BaseError."""
    pipe = AdapterPipeline(base).load_adapter(folder, GenerateConfig(precision="float32"))
    for name in PARTS:
        cast(getattr(pipe, name), torch.float16).to("cpu", memory_format=torch.contiguous_format)
    require_finite(pipe, f"{base.source} with {folder} in 16 bits")
    return pipe


def _write_checkpoint(pipe: StableDiffusionPipeline, out: Path, name: str, *, ckpt: bool) -> tuple[Path, ...]:
    tensors = {key: tensor.contiguous() for key, tensor in original_layout(pipe).items()}
    files = [out / f"{name}.safetensors"]
    save_file(tensors, files[0], metadata={"format": "pt"})
    if ckpt:
        files.append(out / f"{name}.ckpt")
        torch.save({"state_dict": tensors}, files[1])
    return tuple(files)


def _require_intact(folder: Path, record: AdapterRecord) -> None:
    path = folder / record.weights
    if not path.is_file() or file_sha256(path) != record.sha256:
        raise BaseError(f"{path}: is not the file that the fine-tune wrote; delete {folder} and start the run again")
