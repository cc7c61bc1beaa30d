"""From image files to pixels: every image, real or synthetic, is cropped and resized here.

If real and synthetic images were resized differently, a classifier could learn the difference. Decoded images are
kept in a cache that grows: an image is decoded once, whichever manifests and arms ask for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import filelock
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.files import images
from data.files.archives import version_of
from data.manifest import Manifest
from data.progress import Progress

_FLUSH = 256  # images decoded between two records of the cache
_KEY = 64 + 1  # bytes of one line of its index: a SHA-256 in hex and a newline


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PixelConfig:
    """Size and geometry of the images that models take."""

    size: Annotated[int, Field(ge=8, le=2048)] = 64  # pixels, each side
    geometry: Literal["crop", "pad", "squash"] = "crop"  # largest central square | whole on black | stretched


def read_image(path: Path, config: PixelConfig) -> UInt8[np.ndarray, "size size 3"]:
    """Read one image as sRGB pixels, upright by its EXIF orientation. Raises DataError."""
    return np.asarray(_fit(images.read_rgb(path, config.size), config))


def image_header(path: Path) -> tuple[tuple[int, int], str]:
    """Width and height of the upright image in pixels, and Pillow's mode of the stored one. Raises DataError."""
    return images.read_header(path)


def load_pixels(
    manifest: Manifest,
    config: PixelConfig,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, "n size size 3"]:
    """Read the manifest's images, in row order; a private copy, so writing to it changes no file.

    With a cache, images that were decoded into it before are not decoded again, unless the file has changed. A crash
    loses at most the last few hundred.
    """
    paths = manifest.paths()
    if cache is None:
        pixels = np.empty((len(paths), config.size, config.size, 3), np.uint8)
        for row, path in enumerate(paths):
            pixels[row] = read_image(path, config)
            if progress is not None:
                progress(row + 1, len(paths))
        return pixels
    folder = cache_folder(cache, config)
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        rows = _cache_rows(folder, paths, config, progress)
    return _gather(folder / "pixels.bin", rows, config.size)


def cache_folder(cache: Path, config: PixelConfig) -> Path:
    """The cache's folder for images of this size and geometry."""
    return cache / f"pixels-{config.size}-{config.geometry}"


def cache_bytes(n: int, config: PixelConfig) -> int:
    """Bytes that n decoded images take in the cache."""
    return n * (_image_bytes(config) + _KEY)


def _fit(image: Image.Image, config: PixelConfig) -> Image.Image:
    """Area resampling if the image shrinks both ways, bicubic otherwise."""
    size, (width, height) = config.size, image.size
    side = min(width, height)
    resampling = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    if config.geometry == "crop":
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), resampling, box=(left, top, left + side, top + side))
    if config.geometry == "squash":
        return image.resize((size, size), resampling)
    scale = size / max(width, height)
    whole = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("RGB", (size, size))
    resampling = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BICUBIC
    square.paste(image.resize(whole, resampling), ((size - whole[0]) // 2, (size - whole[1]) // 2))
    return square


def _cache_rows(folder: Path, paths: list[Path], config: PixelConfig, progress: Progress | None) -> list[int]:
    """The cache's row of each path, after decoding the images that it lacks."""
    known = _recover(folder, config)
    keys = [hashlib.sha256(version_of(path).encode()).hexdigest() for path in paths]
    missing = {key: path for key, path in zip(keys, paths, strict=True) if key not in known}
    total = len(set(keys))
    done = total - len(missing)
    with (folder / "pixels.bin").open("ab") as pixels, (folder / "index.txt").open("a", encoding="ascii") as index:
        for batch in _batches(list(missing.items())):
            pixels.write(b"".join(read_image(path, config).tobytes() for _, path in batch))
            _to_disk(pixels.fileno(), pixels.flush)
            index.write("".join(f"{key}\n" for key, _ in batch))
            _to_disk(index.fileno(), index.flush)
            for key, _ in batch:
                known[key] = len(known)
            done += len(batch)
            if progress is not None:
                progress(done, total)
    return [known[key] for key in keys]


def _recover(folder: Path, config: PixelConfig) -> dict[str, int]:
    """Read the cache's index, after cutting off what a crash left half written."""
    pixels, index = folder / "pixels.bin", folder / "index.txt"
    pixels.touch()
    index.touch()
    whole = min(pixels.stat().st_size // _image_bytes(config), index.stat().st_size // _KEY)
    os.truncate(pixels, whole * _image_bytes(config))
    os.truncate(index, whole * _KEY)
    return {key: row for row, key in enumerate(index.read_text(encoding="ascii").split())}


def _gather(file: Path, rows: list[int], size: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Rows of the cache; if they are consecutive, a copy-on-write map of the file itself."""
    if not rows:
        return np.empty((0, size, size, 3), np.uint8)
    pixels = np.memmap(file, np.uint8, mode="c", shape=(max(rows) + 1, size, size, 3))  # others may append
    first, n = rows[0], len(rows)
    if rows == list(range(first, first + n)):
        return pixels[first : first + n]
    return np.asarray(pixels[rows])


def _image_bytes(config: PixelConfig) -> int:
    return config.size * config.size * 3


def _batches(items: list[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    return (items[start : start + _FLUSH] for start in range(0, len(items), _FLUSH))


def _to_disk(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)
