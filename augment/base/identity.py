"""The identity of a base as plain JSON: the digest of its weights and configs, or its hub id and commit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from augment.base.config import OWN, BaseConfig
from augment.base.embeddings import embeddings_identity
from data.store import digest, file_sha256

WORDS = "embeddings"  # the key of the learnt words, which a base without any lacks
_IGNORED = ("artifact.json", "cost.json")  # written beside a study's own base: when it was trained and for how long


def base_identity(base: BaseConfig) -> dict[str, Any]:
    """Equal for two bases if, and only if, they are the same, their learnt words included.

    A study's own base that is not trained yet has the identity of what it is continued from, and its classes.
    """
    if base.embeddings is None:
        return _weights_identity(base)
    return {**_weights_identity(base), WORDS: embeddings_identity(Path(base.embeddings))}


def _weights_identity(base: BaseConfig) -> dict[str, Any]:
    if base.own is not None:
        parent = base.parent
        return {
            "source": OWN,
            "init_from": "scratch" if parent is None else base_identity(parent),
            "classes": list(base.own.classes),
        }
    path = base.folder
    if path.is_dir():
        files = sorted(path.rglob("*.safetensors")) + sorted(path.rglob("*.json")) + sorted(path.rglob("*.txt"))
        files = [file for file in files if file.name not in _IGNORED]
        return {
            "source": base.source if base.source == "tiny" else path.name,
            "sha256": digest([(file.relative_to(path).as_posix(), sha256_of(file)) for file in files]),
        }
    if path.is_file():
        return {"source": path.name, "sha256": sha256_of(path)}
    return {"source": base.source, "revision": base.revision or "main"}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, computed once per process: every class asks for that of the same gigabytes."""
    stat = path.stat()
    return _cached_sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _cached_sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - size and time are part of the key
    return file_sha256(path)


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two bases have the same weights, in whatever folder; a hub id and its revision stand for theirs."""
    if "sha256" in one and "sha256" in other:
        return bool(one["sha256"] == other["sha256"])
    return all(one.get(name) == other.get(name) for name in (one.keys() | other.keys()) - {WORDS})
