"""How a base's weights are read: safetensors, or pickles of tensors alone, and nothing of them may be missing.

Where a file lacks tensors, transformers fills in random numbers and diffusers leaves holes; both are refused here.
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from transformers import CLIPTextModel

from augment.device import PARTS
from data.errors import BaseError

_SAFE: dict[str, Any] = {
    "dtype": torch.float32,
    "use_safetensors": True,
    "trust_remote_code": False,
}  # no code of a repository is run
_TEXT = "text_encoder"
_LEGACY = 5  # pickles that torch.save wrote one after another, before it wrote zip files


def from_folder(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of a diffusers folder. Raises BaseError."""
    return _pretrained(str(folder), "copy or fetch the folder anew", local_files_only=True)


def from_hub(name: str, revision: str | None) -> StableDiffusionPipeline:
    """The pipeline of a hub id, fetched unless the cache holds it. Raises BaseError."""
    return _pretrained(name, "check the name, the revision and the network", revision=revision)


def from_file(path: Path, config: str) -> StableDiffusionPipeline:
    """The pipeline of one file in the layout of the original Stable Diffusion, by configs on disk. Raises BaseError."""
    if path.suffix == ".ckpt":
        _require_safe_pickle(path)
    try:
        pipe = StableDiffusionPipeline.from_single_file(
            str(path), config=config, dtype=torch.float32, safety_checker=None, local_files_only=True
        )
    except Exception as fault:  # diffusers raises whatever its converters stumble over
        hole = isinstance(fault, NotImplementedError)  # torch's, of a tensor that the file did not fill
        said = "it lacks tensors of the model" if hole else first_line(fault)
        raise BaseError(
            f"base {path}: cannot be read with the configs in {config} ({said}); fetch the file anew, "
            "or let base.config name the diffusers folder of the same model"
        ) from fault
    _require_whole(pipe, str(path))
    return pipe


def require_finite(pipe: StableDiffusionPipeline, source: str) -> None:
    """Raise BaseError for weights that are not finite."""
    for name in PARTS:
        for key, tensor in getattr(pipe, name).state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise BaseError(
                    f"base {source}: {name} holds numbers that are not finite, first in {key}; fetch it anew"
                )


def first_line(fault: BaseException) -> str:
    """What a library complains of, in one line."""
    return " ".join(str(fault).split())[:200]


def _pretrained(source: str, mend: str, **where: Any) -> StableDiffusionPipeline:  # noqa: ANN401 - diffusers' own
    """The text encoder goes first and by itself: of it alone the pipeline would not tell that tensors are missing."""
    part = source
    try:
        _refuse_kind(DiffusionPipeline.load_config(source, **where)["_class_name"], source)
        part = f"{source}/{_TEXT}"
        read: Any = CLIPTextModel.from_pretrained(source, subfolder=_TEXT, output_loading_info=True, **_SAFE, **where)
        encoder, told = read
        _refuse_lacking(told["missing_keys"], _TEXT, source)
        encoder.name_or_path = ""  # else peft asks a hub for the configuration of the whole base, as of one model
        part = source
        pipe: StableDiffusionPipeline = DiffusionPipeline.from_pretrained(
            source,
            text_encoder=encoder,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **_SAFE,
            **where,
        )
    except BaseError:
        raise
    except Exception as fault:  # diffusers, transformers and safetensors raise whatever they stumble over
        raise BaseError(f"base {part}: cannot be loaded ({first_line(fault)}); {mend}") from fault
    _require_whole(pipe, source)
    return pipe


def _refuse_kind(kind: str, source: str) -> None:
    if kind != StableDiffusionPipeline.__name__:
        raise BaseError(f"base {source}: is a {kind}; only Stable Diffusion 1.x and 2.x fit")


def _require_whole(pipe: StableDiffusionPipeline, source: str) -> None:
    """Raise BaseError for tensors that no file filled: they are shapes without numbers."""
    for name in PARTS:
        state = getattr(pipe, name).state_dict()
        _refuse_lacking([key for key, tensor in state.items() if tensor.is_meta], name, source)


def _refuse_lacking(missing: Collection[str], part: str, source: str) -> None:
    if missing:
        raise BaseError(
            f"base {source}: the weights of its {part} lack {len(missing)} of the model's tensors, first "
            f"{min(missing)}; copy or fetch them anew"
        )


def _require_safe_pickle(path: Path) -> None:
    zipped = is_zipfile(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a newer pickle's protocol, which torch then reads or refuses
            torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as fault:
        if zipped or _is_pickle(path):
            raise BaseError(
                f"base {path}: holds more than tensors, so loading it could run code; use the .safetensors file "
                "of the same model (Stable Diffusion 1.5: v1-5-pruned-emaonly.safetensors)"
            ) from fault
        raise BaseError(_unreadable(path, "is no weights file")) from fault
    except Exception as fault:  # torch raises whatever a broken file makes it stumble over
        raise BaseError(
            _unreadable(path, f"cannot be read as weights ({type(fault).__name__} {first_line(fault)})")
        ) from fault


def _unreadable(path: Path, said: str) -> str:
    return f"base {path}: {said}; fetch it anew, or the .safetensors file of the same model"


def _is_pickle(path: Path) -> bool:
    """Whether all pickles at the file's beginning are whole. They are parsed, and nothing is made of them."""
    try:
        with path.open("rb") as file:
            for _ in range(_LEGACY):
                for _operation in pickletools.genops(file):
                    pass
                if not file.peek(1):
                    break
    except ValueError:
        return False
    return True
