"""The one door to a base model: hub id, diffusers folder, single file, the embedded `tiny`, or a study's own."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from pydantic.dataclasses import dataclass

from augment.base_training import TRAINING, OwnBaseConfig, ids_of
from augment.compact import CompactConfig, build
from augment.hub import commit_of
from data.config import STRICT
from data.errors import BaseError
from data.manifest import Manifest
from data.store import digest, file_sha256, read_json

TINY = Path(__file__).parent / "tiny"
_NOTES = ("artifact.json", "cost.json")  # beside a study's own base: when and how long, which is none of its identity
OWN = "pretrain"  # the source of a base that the study itself trains
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BaseConfig:
    """Which Stable Diffusion the study starts from."""

    source: str = "tiny"  # hub id, diffusers folder, .safetensors or .ckpt file, `tiny`, or `pretrain`: its own
    revision: str | None = None  # of a hub id: branch, tag or commit
    config: str | None = None  # of a single file: a diffusers folder with its configs and tokenizer
    pretrain: OwnBaseConfig = OwnBaseConfig()  # how the study trains its own, on its train part alone

    def __post_init__(self) -> None:
        """Refuse training settings for a base that is not trained here."""
        if self.pretrain != OwnBaseConfig() and self.source != OWN:
            raise ValueError(f"`pretrain` says how the study trains a base, but source is {self.source!r}, not {OWN!r}")

    @property
    def own(self) -> OwnBaseConfig | None:
        """How the study trains its own base; None for a base that is there."""
        return self.pretrain if self.source == OWN else None

    def start(self) -> BaseConfig | None:
        """What the study's own base is continued from; None: it begins with random weights."""
        own = self.own
        return None if own is None or own.start == "scratch" else BaseConfig(source=own.start)


def load_base(config: BaseConfig) -> StableDiffusionPipeline:
    """The pipeline in float32 on the CPU, without a safety checker (it blackens skin).

    Raises BaseError for what is not there, is not safe to load, or holds numbers that are not finite.
    """
    path = Path(config.source)
    if config.source == OWN:
        raise BaseError(f"base {OWN}: is trained by a study's run; give the folder that it left, runs/<name>/base-…")
    if config.source == "tiny":
        pipe = _from_folder(TINY)
    elif path.is_dir():
        pipe = _from_folder(path)
    elif path.suffix in {".safetensors", ".ckpt"}:
        pipe = _from_file(path, config.config)
    elif not _on_hub(config):
        raise BaseError(
            f"base {config.source}: give `tiny`, a hub id (owner/name), a diffusers folder, or one weights file"
        )
    else:
        pipe = _from_hub(config)
    _require_finite(pipe, config.source)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pinned(config: BaseConfig) -> BaseConfig:
    """The same base, a hub's branch or tag replaced by the commit that it stands for, where that can be told."""
    commit = commit_of(config.source, config.revision) if _on_hub(config) else None
    return dataclasses.replace(config, revision=commit) if commit else config


def random_tiny(seed: int = 0) -> StableDiffusionPipeline:
    """The embedded base's architecture with random weights, for tests."""
    return build(CompactConfig(), seed)


def base_identity(config: BaseConfig) -> dict[str, Any]:
    """What tells one base from another, as plain JSON: the weights' digest, or hub id and commit.

    A study's own is told, until it is trained, by what it starts from and which classes it may see.
    """
    if config.own is not None:
        start = config.start()
        return {
            "source": OWN,
            "start": "scratch" if start is None else base_identity(start),
            "classes": list(config.own.classes),
        }
    path = TINY if config.source == "tiny" else Path(config.source)
    if path.is_dir():
        weights = sorted(path.rglob("*.safetensors")) + sorted(path.rglob("*.json")) + sorted(path.rglob("*.txt"))
        weights = [p for p in weights if p.name not in _NOTES]
        return {
            "source": config.source if config.source == "tiny" else path.name,
            "sha256": digest([(p.relative_to(path).as_posix(), file_sha256(p)) for p in weights]),
        }
    if path.is_file():
        return {"source": path.name, "sha256": file_sha256(path)}
    return {"source": config.source, "revision": config.revision or "main"}


def seen_by(config: BaseConfig) -> dict[str, Any]:
    """What the base has been trained on, as far as it is known: its own record, else unknown.

    A study's own has seen nothing yet but what it starts from.
    """
    if config.own is not None:
        start = config.start()
        return {"images": 0} if start is None else seen_by(start)
    folder = TINY if config.source == "tiny" else Path(config.source)
    try:
        return dict(read_json(folder / TRAINING))
    except (OSError, ValueError, TypeError):  # none, or another program's
        return {"images": "unknown", "groups": "unknown"}


def known_in_full(record: Mapping[str, Any]) -> bool:
    """Whether a base's record tells all that it has seen, along its whole lineage."""
    before = record.get("before")
    told = "unknown" not in (record.get("images", "unknown"), record.get("groups"))
    return told and (not isinstance(before, Mapping) or known_in_full(before))


def seen_with(part: Manifest, start: BaseConfig | None) -> dict[str, Any]:
    """What a base has seen that was trained on `part` and before that was `start`; None: nothing before."""
    before = {} if start is None else seen_by(start)
    seen: dict[str, Any] = {"images": len(part), "by_class": part.counts(), "part": "train"}
    for name, new in ids_of(part).items():
        old = before.pop(name, None) if isinstance(before.get(name), list) else None
        seen[name] = sorted({*new, *(old or ())})
    kept = ("images", "by_class", "groups", "part", "before")
    return {**seen, "before": {name: before[name] for name in kept if name in before}} if before else seen


def _on_hub(config: BaseConfig) -> bool:
    """Whether the source is a hub id, owner/name."""
    path = Path(config.source)
    local = path.exists() or path.suffix in {".safetensors", ".ckpt"} or config.source.startswith((".", "/", "~"))
    return not local and config.source.count("/") == 1


def _from_folder(folder: Path) -> StableDiffusionPipeline:
    if not (folder / "model_index.json").is_file():
        raise BaseError(f"base {folder}: has no model_index.json, so it is no diffusers folder")
    return _pretrained(str(folder), local_files_only=True)


def _from_hub(config: BaseConfig) -> StableDiffusionPipeline:
    return _pretrained(config.source, revision=config.revision)


def _pretrained(source: str, **options: Any) -> StableDiffusionPipeline:  # noqa: ANN401 - diffusers' own
    """Safetensors only; no code of the model's repository is run."""
    try:
        pipe = DiffusionPipeline.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as fault:
        raise BaseError(
            f"base {source}: cannot be loaded ({first_line(fault)}); check the name, the network or the folder"
        ) from fault
    if not isinstance(pipe, StableDiffusionPipeline):
        raise BaseError(f"base {source}: is a {type(pipe).__name__}; only Stable Diffusion 1.x and 2.x fit")
    return pipe


def _from_file(path: Path, config: str | None) -> StableDiffusionPipeline:
    if not path.is_file():
        raise BaseError(f"base {path}: no such file")
    if config is None:
        raise BaseError(
            f"base {path}: a single file needs base.config, a diffusers folder with its configs and tokenizer"
        )
    if path.suffix == ".ckpt":
        _require_safe_pickle(path)
    try:
        return StableDiffusionPipeline.from_single_file(
            str(path), config=config, dtype=torch.float32, safety_checker=None, local_files_only=True
        )
    except Exception as fault:  # diffusers raises whatever its converters stumble over
        raise BaseError(f"base {path}: cannot be read with the configs in {config} ({first_line(fault)})") from fault


def _require_safe_pickle(path: Path) -> None:
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as fault:
        raise BaseError(
            f"base {path}: holds more than tensors, so loading it could run code; use the .safetensors file "
            "of the same model (Stable Diffusion 1.5: v1-5-pruned-emaonly.safetensors)"
        ) from fault


def _require_finite(pipe: StableDiffusionPipeline, source: str) -> None:
    for name in ("unet", "vae", "text_encoder"):
        for key, tensor in getattr(pipe, name).state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise BaseError(
                    f"base {source}: {name} holds numbers that are not finite, first in {key}; fetch it anew"
                )


def first_line(fault: BaseException) -> str:
    """What a library complains of, in one line."""
    return " ".join(str(fault).split())[:200]
