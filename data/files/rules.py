"""What may be opened of a data set: how large its files and images are at most, and where its links may lead.

The settings stand under `data:` and hold for the whole process, since images are read in many places: a file that fits
one stage would fit all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PIL import Image

from data.errors import DataError

MAX_IMAGE_PIXELS = 100_000_000
MAX_FILE_BYTES = 300_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileRules:
    """Limits of one file, and the folders outside a data set's own into which its links may lead."""

    max_image_pixels: int = MAX_IMAGE_PIXELS  # width x height; decoded, a pixel takes up to 16 bytes
    max_file_bytes: int = MAX_FILE_BYTES  # of an image, a table or a zip's member, unpacked
    follow_links: tuple[Path, ...] = ()  # resolved


_rules = [FileRules()]


def use_rules(rules: FileRules) -> None:
    """Let these hold from now on, for Pillow too, which refuses twice as many pixels by itself."""
    _rules[0] = rules
    Image.MAX_IMAGE_PIXELS = rules.max_image_pixels


def rules() -> FileRules:
    """Those that hold."""
    return _rules[0]


def require_bytes(path: Path, size: int) -> None:
    """Raise DataError for a file of more bytes than may be read into memory."""
    most = rules().max_file_bytes
    if size > most:
        raise DataError(
            f"{path}: has {size:,} bytes and would fill the memory: more than data.max_file_bytes, {most:,}; "
            "save it smaller, or raise that"
        )


def require_pixels(path: Path, width: int, height: int) -> None:
    """Raise DataError for an image of more pixels than may be decoded; one is at least a pixel each way."""
    most = rules().max_image_pixels
    if width * height > most:
        raise too_many_pixels(path, f"{width:,} x {height:,}")


def too_many_pixels(path: Path, found: str) -> DataError:
    """The error of an image of so many pixels, in words."""
    most = rules().max_image_pixels
    return DataError(
        f"{path}: has {found} pixels and would fill the memory: more than data.max_image_pixels, {most:,}; "
        "export it smaller, or raise that"
    )
