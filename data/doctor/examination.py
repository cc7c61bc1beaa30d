"""A look at every image file: whether it can be read, what it holds, and whether it is there twice."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.errors import DataError, Fault, OnFault
from data.files.archives import open_file
from data.manifest import Manifest
from data.pixels import PixelConfig, open_image, read_image
from data.progress import Progress
from data.sources.load import ROW
from data.splits.duplicates import SIDE

_KINDS = {
    "1": "black and white",
    "L": "greyscale",
    "LA": "greyscale with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}  # by Pillow's mode
_TURNED = range(5, 9)  # EXIF orientations that change height for width
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Look:
    """What one file holds."""

    sha256: str
    size: tuple[int, int]  # pixels, width and height, upright
    kind: str  # how its pixels are coded, in words
    blank: bool  # one colour all over


def examine(
    manifest: Manifest, geometry: PixelConfig, watch: Progress, on_fault: OnFault
) -> tuple[Manifest, list[Look], UInt8[np.ndarray, "n s s 3"]]:
    """Read every image; give those that can be read, what they hold, and small pixels of them for near-duplicates."""
    small = PixelConfig(size=SIDE, geometry=geometry.geometry)
    pixels = np.empty((len(manifest), SIDE, SIDE, 3), np.uint8)
    looks: list[Look] = []
    readable = np.zeros(len(manifest), bool)
    broken = defaultdict(list)
    for row, (path, name) in enumerate(zip(manifest.paths(), names(manifest), strict=True)):
        try:
            pixels[len(looks)] = read_image(path, small)
            looks.append(_look(path, pixels[len(looks)]))
            readable[row] = True
        except DataError as fault:
            what, _, mend = str(fault).removeprefix(f"{path}: ").rpartition("; ")
            broken[mend].append(f"{name}: {what}")
        watch(row + 1, len(manifest))
    for mend, cases in broken.items():
        on_fault(Fault("", tuple(cases), mend))
    left = Manifest(manifest.table[readable].reset_index(drop=True), manifest.roots)
    return left, looks, pixels[: len(looks)]


def names(manifest: Manifest) -> list[str]:
    """Name each image by its file and the row that it was read from, with folder and table where they tell more."""
    table = manifest.table
    files = table["path"].str.rpartition("/")[2]
    files = files if files.is_unique else table["path"]
    if ROW not in table:
        return files.tolist()
    rows = table[ROW] if table[ROW].str.rpartition(", ")[0].nunique() > 1 else table[ROW].str.rpartition(", ")[2]
    return [f"{file} ({row})" for file, row in zip(files, rows, strict=True)]


def same_bytes(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Find the pairs of rows whose files are the same; each later one stands with the first."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(look.sha256, row), row) for row, look in enumerate(looks)]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _look(path: Path, pixels: UInt8[np.ndarray, "s s 3"]) -> Look:
    with open_file(path) as file:
        content = file.read()
    with open_image(path, io.BytesIO(content)) as image:
        size = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        kind = _kind(image)
    blank = bool((pixels == pixels[0, 0]).all())
    return Look(hashlib.sha256(content).hexdigest(), size[::-1] if turned else size, kind, blank)


def _kind(image: Image.Image) -> str:
    return "16-bit greyscale" if image.mode.startswith("I;16") else _KINDS.get(image.mode, image.mode)
