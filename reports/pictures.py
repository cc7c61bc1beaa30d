"""Thumbnails that a run keeps for its report, and pictures embedded in the page."""

from __future__ import annotations

import base64
import io
import os
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from data.errors import InputError
from data.files.archives import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.run_folder import RunFolder

THUMBS = 12  # images a class and source that a report shows
_MOST_BYTES = 24_000  # of a picture that is embedded as it is; a larger one is made smaller
_EDGE = 192  # pixels, of one that was made smaller


def thumbnails(run: RunFolder, label: str) -> dict[str, tuple[str, ...]]:
    """Paths within the run folder by source: "real", "synthetic", and each external arm."""
    names = {"real": "real", "synthetic": "synthetic"} | {arm: f"arm.{arm}." for arm in run.names("external")}
    if PurePosixPath(label).name != label:  # would lead out of the folder
        return dict.fromkeys(names, ())
    folder = run.path / "thumbs" / label
    return {source: run.pictures(folder, f"{name}-*") for source, name in names.items()}


def take_turns(
    galleries: Sequence[Mapping[str, tuple[str, ...]]], folders: Sequence[Path], beside: Path
) -> dict[str, tuple[str, ...]]:
    """Thumbnails of one class from several run folders in turn, at most `THUMBS` a source; paths from `beside`."""
    shown = {}
    for source in galleries[0]:
        found = [
            [os.path.relpath(folder / path, beside) for path in gallery[source]]
            for gallery, folder in zip(galleries, folders, strict=True)
        ]
        shown[source] = tuple(path for row in zip_longest(*found) for path in row if path is not None)[:THUMBS]
    return shown


def picture_uri(path: Path) -> str:
    """A picture as a data: URI, made smaller if it is large. Raises InputError for one that cannot be read."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            kind = image.format
            if kind not in {"JPEG", "PNG"} or len(content) > _MOST_BYTES:
                content, kind = _smaller(image), "JPEG"
    except OSError as fault:
        raise InputError(f"{path}: is no picture that can be read; start the run again to write it anew") from fault
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode('ascii')}"


def _smaller(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    edge = max(small.size)
    # A contact strip is long: its height is what one picture has.
    small.thumbnail((_EDGE, _EDGE) if edge < 3 * min(small.size) else (4 * _EDGE, _EDGE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
