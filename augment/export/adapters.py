"""A class's finished adapter as files of another program: a LoRA file, a LyCORIS file, or the whole model.

No id of an image, a lesion or a patient is written, which an adapter's record holds.
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
from augment.base.embedding_files import write_embedding, write_webui_embedding
from augment.base.load import require_finite
from augment.base.train import save_pipeline
from augment.device import PARTS, cast
from augment.export.lora_file import kohya_lora, metadata, write_safetensors
from augment.export.single_file import original_layout
from augment.generate.config import GenerateConfig
from augment.generate.pipeline import AdapterPipeline
from augment.methods.hypernetwork_files import read_hypernetwork, write_webui_hypernetwork
from augment.methods.lora_files import FILE as LORA_FILE
from augment.methods.record import AdapterRecord
from data.durable import replacing
from data.errors import BaseError
from data.store import file_sha256

Program = Literal["webui", "kohya", "diffusers"]
Kind = Literal["lora", "lycoris", "checkpoint", "word", "hypernetwork", "lora folder", "pipeline"]
PROGRAMS: tuple[str, ...] = get_args(Program)
_KINDS: dict[str, dict[Program, Kind]] = {  # by method
    "lora": {"webui": "lora", "kohya": "lora", "diffusers": "lora folder"},
    "loha": {"webui": "lycoris", "kohya": "lycoris", "diffusers": "pipeline"},  # diffusers reads none of Stable
    "lokr": {"webui": "lycoris", "kohya": "lycoris", "diffusers": "pipeline"},  # Diffusion 1.x
    "dreambooth": {"webui": "checkpoint", "kohya": "checkpoint", "diffusers": "pipeline"},
    "textual-inversion": {"webui": "word", "kohya": "word", "diffusers": "word"},
    "hypernetwork": {"webui": "hypernetwork"},
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written for one class."""

    kind: Kind
    files: tuple[Path, ...]  # what the program is given: a file, or a folder


def kind_of(method: str, program: Program) -> Kind:
    """What an adapter of this method becomes for a program. Raises BaseError for a method that it cannot read."""
    kinds = _KINDS.get(method, {})
    if program not in kinds:
        readers = f"; {' and '.join(kinds)} can" if kinds else ""
        raise BaseError(f"{program} reads no adapters of the method {method}{readers}")
    return kinds[program]


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
    if kind in {"word", "hypernetwork"}:
        return Exported(kind=kind, files=(_write_small(folder, record, out, name, program),))
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


def _write_small(folder: Path, record: AdapterRecord, out: Path, name: str, program: Program) -> Path:
    """A learnt word, or a hypernetwork, in a file whose name is its own in the webui."""
    weights, base = folder / record.weights, str(record.base.get("source", ""))
    if record.method == "hypernetwork":
        shape, tensors = read_hypernetwork(weights)
        return write_webui_hypernetwork(tensors, shape, out / f"{name}.pt", step=record.steps, checkpoint=base)
    (vectors,) = load_file(weights).values()
    if program == "webui":
        return write_webui_embedding(vectors, name, out / f"{name}.pt", step=record.steps, checkpoint=base)
    return write_embedding(vectors, name, out / f"{name}.safetensors")


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
    with replacing(files[0]) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    if ckpt:
        files.append(out / f"{name}.ckpt")
        with replacing(files[1]) as temporary:
            torch.save({"state_dict": tensors}, temporary)
    return tuple(files)


def _require_intact(folder: Path, record: AdapterRecord) -> None:
    path = folder / record.weights
    if not path.is_file() or file_sha256(path) != record.sha256:
        raise BaseError(f"{path}: is not the file that the fine-tune wrote; delete {folder} and start the run again")
