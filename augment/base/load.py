"""Loads a base model: hub id, diffusers folder, single file, the embedded `tiny`, or a study's own.

Weights are safetensors, or pickles of nothing but tensors, and have to be complete. Where a file lacks tensors,
transformers fills in random numbers and diffusers leaves them on the meta device; both are refused here.
"""

from __future__ import annotations

import dataclasses
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

from augment.base.config import OWN, BaseConfig, OwnBaseConfig, require_base
from augment.base.embeddings import add_embeddings
from augment.base.tiny_model import build_tiny_model
from augment.device import PARTS
from data.errors import BaseError, ConfigError

_SAFE: dict[str, Any] = {
    "dtype": torch.float32,
    "use_safetensors": True,
    "trust_remote_code": False,
}
_TEXT = "text_encoder"
_LEGACY = 5  # pickles that torch.save wrote one after another, before it wrote zip files


def load_base(base: BaseConfig) -> StableDiffusionPipeline:
    """The pipeline in float32 on the CPU, without a safety checker (it blackens images of skin).

    Raises BaseError for what does not exist, is not safe to load, lacks tensors, or holds numbers that are not finite.
    """
    if base.source == OWN:
        raise BaseError(f"base {OWN}: is trained by a study's run; give the folder that it left, runs/<name>/base-…")
    require_base(base)
    if base.folder.is_dir():
        pipe = from_folder(base.folder)
    elif base.folder.is_file():
        pipe = from_file(base.folder, str(base.config))
    else:
        pipe = from_hub(base.source, base.revision)
    require_finite(pipe, base.source)
    if base.embeddings is not None:
        add_embeddings(pipe, Path(base.embeddings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def build_own_base(own: OwnBaseConfig, size: int, seed: int = 0) -> StableDiffusionPipeline:
    """A base of the configured model with random weights, for images of `size` pixels. Raises ConfigError."""
    try:
        return build_tiny_model(dataclasses.replace(own.model, image_size=size), seed)
    except Exception as fault:  # diffusers and transformers raise anything for sizes that they cannot build
        raise ConfigError(
            f"base.pretrain.model: no model can be built of these sizes ({first_line(fault)}); change them, "
            "or leave them out for those of the embedded base"
        ) from fault


def from_folder(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of a diffusers folder. Raises BaseError."""
    return _pretrained(str(folder), "copy or fetch the folder anew", local_files_only=True)


def from_hub(name: str, revision: str | None) -> StableDiffusionPipeline:
    """The pipeline of a hub id, downloaded unless the cache holds it. Raises BaseError."""
    return _pretrained(name, "check the name, the revision and the network", revision=revision)


def from_file(path: Path, config: str) -> StableDiffusionPipeline:
    """The pipeline of one file in the original Stable Diffusion layout, with configs on disk. Raises BaseError."""
    if path.suffix == ".ckpt":
        _require_safe_pickle(path)
    try:
        pipe = StableDiffusionPipeline.from_single_file(
            str(path), config=config, dtype=torch.float32, safety_checker=None, local_files_only=True
        )
    except Exception as fault:  # diffusers' converters raise anything
        lacks = isinstance(fault, NotImplementedError)  # torch's, for a tensor that is still on the meta device
        reason = "it lacks tensors of the model" if lacks else first_line(fault)
        raise BaseError(
            f"base {path}: cannot be read with the configs in {config} ({reason}); fetch the file anew, "
            "or let base.config name the diffusers folder of the same model"
        ) from fault
    _require_complete(pipe, str(path))
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
    """The first 200 characters of an exception's message, in one line."""
    return " ".join(str(fault).split())[:200]


def _pretrained(source: str, fix: str, **options: Any) -> StableDiffusionPipeline:  # noqa: ANN401 - diffusers' own
    """The text encoder is loaded by itself, since a pipeline does not report its missing tensors."""
    part = source
    try:
        _require_stable_diffusion(DiffusionPipeline.load_config(source, **options)["_class_name"], source)
        part = f"{source}/{_TEXT}"
        loaded: Any = CLIPTextModel.from_pretrained(
            source, subfolder=_TEXT, output_loading_info=True, **_SAFE, **options
        )
        encoder, info = loaded
        _refuse_lacking(info["missing_keys"], _TEXT, source)
        encoder.name_or_path = ""  # else peft asks a hub for its configuration
        part = source
        pipe: StableDiffusionPipeline = DiffusionPipeline.from_pretrained(
            source,
            text_encoder=encoder,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **_SAFE,
            **options,
        )
    except BaseError:
        raise
    except Exception as fault:  # diffusers, transformers and safetensors raise anything
        raise BaseError(f"base {part}: cannot be loaded ({first_line(fault)}); {fix}") from fault
    _require_complete(pipe, source)
    return pipe


def _require_stable_diffusion(name: str, source: str) -> None:
    if name != StableDiffusionPipeline.__name__:
        raise BaseError(f"base {source}: is a {name}; only Stable Diffusion 1.x and 2.x fit")


def _require_complete(pipe: StableDiffusionPipeline, source: str) -> None:
    """Raise BaseError for tensors that no file filled: they are still on the meta device."""
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
    """Raise BaseError for a pickle that holds more than tensors."""
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
    except Exception as fault:  # torch raises anything for a broken file
        raise BaseError(
            _unreadable(path, f"cannot be read as weights ({type(fault).__name__} {first_line(fault)})")
        ) from fault


def _unreadable(path: Path, reason: str) -> str:
    return f"base {path}: {reason}; fetch it anew, or the .safetensors file of the same model"


def _is_pickle(path: Path) -> bool:
    """Whether the file begins with complete pickles. They are parsed and never executed."""
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
