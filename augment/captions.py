"""Captions of images, as text for their prompts: files beside them, a column of the table, or what BLIP says.

Brackets of a caption are text, not emphasis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from augment.blip import blip_captions, blip_identity
from augment.diffusion.prompt_weighting import literal
from data.errors import ConfigError, DataError
from data.files.archives import is_file, open_file, stamp_of
from data.manifest import Manifest
from data.sources.tables import UNKNOWN
from data.store import digest

Captions = Literal["none", "files", "column", "blip"]
_MOST_BYTES = 2_000


def captions_of(manifest: Manifest, kind: Captions, column: str, blip: str) -> list[str]:
    """The caption of each image, in row order; "" for an image that has none.

    `column` is the table's, `blip` the model's folder or hub id. Raises ConfigError for a column that the table lacks,
    DataError for a file that is no caption.
    """
    if kind == "files":
        return [_cleaned(_read(path.with_suffix(".txt"))) for path in manifest.paths()]
    if kind == "column":
        if column not in manifest.table.columns:
            known = ", ".join(manifest.table.columns)
            raise ConfigError(f"prompts.caption_column: the table has no column {column!r}; it has {known}")
        return [_cleaned(cell) for cell in manifest.table[column]]
    if kind == "blip":
        return [_cleaned(caption) for caption in blip_captions(manifest.paths(), blip)]
    return [""] * len(manifest)


def captions_identity(manifest: Manifest, kind: Captions, blip: str) -> dict[str, Any]:
    """What captions depend on besides the table and the images, as plain JSON under one key; {} for nothing."""
    if kind == "files":
        return {"captions": digest(captions_of(manifest, kind, "", blip))}
    return {"captions": blip_identity(blip)} if kind == "blip" else {}


def _read(path: Path) -> str:
    """A caption file's text; "" where there is none."""
    if not is_file(path):
        return ""
    try:
        size = stamp_of(path)[0]
        if size > _MOST_BYTES:
            raise DataError(f"{path}: a caption of {size:,} bytes; shorten it to {_MOST_BYTES:,} or fewer")
        with open_file(path) as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(f"{path}: the caption is not UTF-8 ({fault.reason}); save it as UTF-8") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); restore its rights") from fault


def _cleaned(caption: str) -> str:
    """One line, its brackets escaped; "" for a cell that says that nothing is known."""
    words = " ".join(caption.split())
    return "" if words.lower() in UNKNOWN else literal(words)
