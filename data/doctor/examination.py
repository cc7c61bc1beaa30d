"""Every image file read once: whether it can be decoded, its size and mode, and whether it is there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data.errors import DataError, Fault, OnFault
from data.files.images import read_range
from data.manifest import Manifest, contents_of
from data.pixels import PixelConfig, image_header, read_image
from data.progress import Progress
from data.sources.load import ROW
from data.splits.duplicates import SIDE

_NARROW = 1 / 8  # share of the values from black to white
_MODES = {
    "1": "black and white",
    "L": "greyscale",
    "LA": "greyscale with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}  # Pillow's modes in words


@dataclass(frozen=True)
class ImageInfo:
    """Digest, size and mode of one image file."""

    sha256: str
    size: tuple[int, int]  # width and height in pixels, upright
    mode: str  # colour and bit depth, in words
    blank: bool  # one colour all over
    values: tuple[int, int, int] | None = None  # least, greatest and white as stored; None: much of the range is used


def read_infos(
    manifest: Manifest, geometry: PixelConfig, progress: Progress, on_fault: OnFault
) -> tuple[Manifest, list[ImageInfo], UInt8[np.ndarray, "n s s 3"]]:
    """The readable images, their infos, and their pixels at the size that near-duplicates need, all in one order."""
    small = replace(geometry, size=SIDE)
    pixels = np.empty((len(manifest), SIDE, SIDE, 3), np.uint8)
    headers: list[tuple[tuple[int, int], str]] = []
    ranges = list[tuple[int, int, int] | None]()
    is_readable = np.zeros(len(manifest), bool)
    broken = defaultdict(list)
    for row, (path, name) in enumerate(zip(manifest.paths(), names(manifest), strict=True)):
        try:
            pixels[len(headers)] = read_image(path, small)
            headers.append(image_header(path))
            ranges.append(_narrow_range(path, pixels[len(headers) - 1]))
            is_readable[row] = True
        except DataError as fault:
            what, _, fix = str(fault).removeprefix(f"{path}: ").rpartition("; ")
            broken[fix].append(f"{name}: {what}")
        progress(row + 1, len(manifest))
    for fix, examples in broken.items():
        on_fault(Fault("", tuple(examples), fix))
    readable = Manifest(manifest.table[is_readable].reset_index(drop=True), manifest.roots)
    pixels = pixels[: len(headers)]
    even = [bool((image == image[0, 0]).all()) for image in pixels]  # as it is read, which may hide a narrow range
    blank = [same and (known is None or known[0] == known[1]) for same, known in zip(even, ranges, strict=True)]
    infos = [
        ImageInfo(sha256, size, _in_words(mode), is_blank, None if is_blank else known)
        for sha256, (size, mode), is_blank, known in zip(
            contents_of(readable).values(), headers, blank, ranges, strict=True
        )
    ]
    return readable, infos, pixels


def names(manifest: Manifest) -> list[str]:
    """Each image's file name and table row, with its folder and table if the names are not unique without."""
    table = manifest.table
    if table.empty:  # whose text pandas divides into no columns
        return []
    files = table["path"].str.rpartition("/")[2]
    files = files if files.is_unique else table["path"]
    if ROW not in table:
        return files.tolist()
    rows = table[ROW] if table[ROW].str.rpartition(", ")[0].nunique() > 1 else table[ROW].str.rpartition(", ")[2]
    return [f"{file} ({row})" for file, row in zip(files, rows, strict=True)]


def same_bytes(infos: Sequence[ImageInfo]) -> list[tuple[int, int]]:
    """The pairs of rows with identical files; each later file is paired with the first."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(info.sha256, row), row) for row, info in enumerate(infos)]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _narrow_range(path: Path, small: UInt8[np.ndarray, "s s 3"]) -> tuple[int, int, int] | None:
    """Least, greatest and white as stored of an image that uses little of its range; None for any other."""
    if int(small.max()) - int(small.min()) > 2 * _NARROW * 255:
        return None
    low, high, white = read_range(path)
    return (low, high, white) if high - low <= _NARROW * white else None


def _in_words(mode: str) -> str:
    return "16-bit greyscale" if mode.startswith("I;16") else _MODES.get(mode, mode)
