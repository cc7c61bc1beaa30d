"""The commit of a hub repository's branch or tag: a branch may point to other weights later."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

from augment.base.config import BaseConfig

_INDEX = "model_index.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_revision(base: BaseConfig) -> BaseConfig:
    """The base with a hub's branch or tag replaced by its commit; unchanged if the commit is not known."""
    commit = commit_of(base.source, base.revision) if base.on_hub else None
    return dataclasses.replace(base, revision=commit) if commit else base


def commit_of(repository: str, revision: str | None) -> str | None:
    """The commit of a revision, from the hub's cache on this machine, else from the hub; None: neither has it.

    The cache comes first, so that a run is continued with the weights that it began with.
    """
    name = revision or "main"
    if _COMMIT.fullmatch(name):
        return name
    found = try_to_load_from_cache(repository, _INDEX, revision=name)
    if not isinstance(found, str):
        try:
            found = hf_hub_download(repository, _INDEX, revision=name)
        except (OSError, ValueError):  # no hub, no such repository or file: loading the base says which
            return None
    commit = Path(found).parent.name  # .../snapshots/<commit>/model_index.json
    return commit if _COMMIT.fullmatch(commit) else None
