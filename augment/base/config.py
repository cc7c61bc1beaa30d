"""The one door to a base model: hub id, diffusers folder, single file, the embedded `tiny`, or a study's own."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from pydantic.dataclasses import dataclass

from augment.base.hub import commit_of
from augment.base.load import from_file, from_folder, from_hub, require_finite
from augment.base.tiny_model import CompactConfig, build
from augment.base.train import TRAINING, OwnBaseConfig, ids_of
from data.config import STRICT
from data.errors import BaseError
from data.manifest import Manifest
from data.store import digest, file_sha256, read_json

TINY = Path(__file__).parent / "tiny"
_NOTES = ("artifact.json", "cost.json")  # beside a study's own base: when and how long, which is none of its identity
WEIGHTS = (".safetensors", ".ckpt")  # of a base in one file
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

    Raises BaseError for what is not there, is not safe to load, lacks tensors, or holds numbers that are not finite.
    """
    if config.source == OWN:
        raise BaseError(f"base {OWN}: is trained by a study's run; give the folder that it left, runs/<name>/base-…")
    require_there(config)
    path = TINY if config.source == "tiny" else Path(config.source)
    if path.is_dir():
        pipe = from_folder(path)
    elif path.is_file():
        pipe = from_file(path, str(config.config))
    else:
        pipe = from_hub(config.source, config.revision)
    require_finite(pipe, config.source)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def require_there(config: BaseConfig) -> None:
    """Raise BaseError for a base that lies nowhere and is no hub's; of a study's own, for what it starts from.

    Nothing is read and no hub is asked: what can be told at once is said before any work.
    """
    start, key = (config.start(), "base.pretrain.start") if config.own else (config, "base.source")
    if start is None or start.source == "tiny" or on_hub(start.source):
        return
    path, configs = Path(start.source), start.config
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise BaseError(f"{key}: {path} has no model_index.json, so it is no diffusers folder; name one that has")
    elif not path.is_file():
        raise BaseError(
            f"{key}: {path}: no such file or folder; give `tiny`, a hub id (owner/name), a diffusers folder, "
            "or one weights file"
        )
    elif path.suffix not in WEIGHTS or start is not config:
        kinds = f"a diffusers folder{'' if start is not config else ' or one .safetensors or .ckpt file'}"
        raise BaseError(f"{key}: {path} is a file, and none that fits; name {kinds}")
    elif configs is None:
        raise BaseError(
            f"{key}: {path}: a single file needs base.config, a diffusers folder with its configs and tokenizer"
        )
    elif not Path(configs).is_dir() and not on_hub(configs):
        raise BaseError(f"base.config: {configs}: no such folder; name a diffusers folder of the same model")


def pinned(config: BaseConfig) -> BaseConfig:
    """The same base, a hub's branch or tag replaced by the commit that it stands for, where that can be told."""
    commit = commit_of(config.source, config.revision) if on_hub(config.source) else None
    return dataclasses.replace(config, revision=commit) if commit else config


def on_hub(source: str) -> bool:
    """Whether a source that lies nowhere here is a hub id, owner/name."""
    path = Path(source)
    local = path.exists() or path.suffix in WEIGHTS or source.startswith((".", "/", "~"))
    return not local and source.count("/") == 1


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
            "sha256": digest([(p.relative_to(path).as_posix(), _sha256(p)) for p in weights]),
        }
    if path.is_file():
        return {"source": path.name, "sha256": _sha256(path)}
    return {"source": config.source, "revision": config.revision or "main"}


def _sha256(path: Path) -> str:
    """The digest of gigabytes, which every class's steps ask for, is computed once."""
    about = path.stat()
    return _sha256_as_of(path.resolve(), about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256_as_of(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 - size and time are part of the key
    return file_sha256(path)


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
