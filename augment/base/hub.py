"""Which commit of a hub's repository a branch or a tag stands for: the name may mean other weights tomorrow."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

_INDEX = "model_index.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def commit_of(repository: str, revision: str | None) -> str | None:
    """The commit that the hub's cache on this machine holds under that name, else the one that the hub tells.

    None where there is neither. What the cache holds goes first, so that a run goes on with what it began with.
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
    commit = Path(found).parent.name  # …/snapshots/<commit>/model_index.json
    return commit if _COMMIT.fullmatch(commit) else None
