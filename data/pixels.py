"""From image files to pixels: every image, real or synthetic, is cropped and resized here.

If real and synthetic images were resized differently, a classifier could learn the difference. Decoded images are
kept in a cache that grows: an image is decoded once, whichever manifests and arms ask for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.durable import make_folder
from data.files import images
from data.files.archives import version_of
from data.manifest import Manifest
from data.progress import Progress

_FLUSH = 256  # images decoded between two records of the cache
_INDEX = "index-3.txt"  # a line an image: the SHA-256 of its file's version, and the CRC-32 of its pixels, in hex
_EARLIER = ("index.txt", "index-2.txt")  # without checksums; of versions without ctime
_LINE = 64 + 1 + 8 + 1  # bytes of one line

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PixelConfig:
    """Size and geometry of the images that models take."""

    size: Annotated[int, Field(ge=8, le=2048)] = 64  # pixels, each side
    geometry: Literal["crop", "pad", "squash"] = "crop"  # largest central square | whole on black | stretched
    bits: Annotated[int, Field(ge=8, le=16)] | None = None  # of images of 16 bits: how many count; None = all

    @model_serializer(mode="wrap")
    def _recorded(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `bits` where it is not set, so that records and digests from before it stay valid."""
        return {name: value for name, value in dump(self).items() if name != "bits" or value is not None}


def read_image(path: Path, config: PixelConfig) -> UInt8[np.ndarray, "size size 3"]:
    """Read one image as sRGB pixels, upright by its EXIF orientation. Raises DataError."""
    return np.asarray(_fit(images.read_rgb(path, config.size, config.bits), config))


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

    With a cache, images that were decoded into it before are not decoded again, unless the file has changed, or the
    cache has been damaged. A crash loses at most the last few hundred.
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
    make_folder(folder)
    with filelock.FileLock(folder / "lock"):
        rows = _cache_rows(folder, paths, config, progress)
    return _gather(folder / "pixels.bin", rows, config.size)


def cache_folder(cache: Path, config: PixelConfig) -> Path:
    """The cache's folder for images of this size and geometry."""
    bits = f"-{config.bits}" if config.bits else ""
    return cache / f"pixels-{config.size}-{config.geometry}{bits}"


def cache_files(cache: Path) -> Iterator[Path]:
    """The files of decoded images, of all sizes and geometries."""
    for folder in () if cache.is_symlink() else sorted(cache.glob("pixels-*/")):
        if not folder.is_symlink():
            files = (folder / name for name in ("pixels.bin", _INDEX, *_EARLIER, "lock"))
            yield from (path for path in files if path.is_file() and not path.is_symlink())


def forget_pixels(cache: Path) -> None:
    """Have every image decoded again, at its next use."""
    for folder in cache.glob("pixels-*/"):
        with filelock.FileLock(folder / "lock"):
            (folder / _INDEX).unlink(missing_ok=True)


def cache_bytes(n: int, config: PixelConfig) -> int:
    """Bytes that n decoded images take in the cache."""
    return n * (_image_bytes(config) + _LINE)


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
    """The cache's row of each path, after decoding the images that it lacks, or whose pixels are damaged in it."""
    known = _recover(folder, config)
    keys = [hashlib.sha256(version_of(path).encode()).hexdigest() for path in paths]
    sound = _sound(folder, {key: known[key] for key in keys if key in known}, config)
    missing = {key: path for key, path in zip(keys, paths, strict=True) if key not in sound}
    total, written = len(set(keys)), len(sound)
    rows, next_row = {key: row for key, (row, _) in sound.items()}, _n_rows(folder, config)
    with (folder / "pixels.bin").open("ab") as pixels, (folder / _INDEX).open("a", encoding="ascii") as index:
        for batch in _batches(list(missing.items())):
            decoded = [read_image(path, config).tobytes() for _, path in batch]
            pixels.write(b"".join(decoded))
            _to_disk(pixels.fileno(), pixels.flush)
            index.write("".join(f"{key} {_checksum(each)}\n" for (key, _), each in zip(batch, decoded, strict=True)))
            _to_disk(index.fileno(), index.flush)
            rows |= {key: row for row, (key, _) in enumerate(batch, next_row)}
            next_row, written = next_row + len(batch), written + len(batch)
            if progress is not None:
                progress(written, total)
    return [rows[key] for key in keys]


def _recover(folder: Path, config: PixelConfig) -> dict[str, tuple[int, str]]:
    """Row and checksum by key, from the cache's index, after cutting off what a crash left half written."""
    pixels, index = folder / "pixels.bin", folder / _INDEX
    for earlier in _EARLIER:
        (folder / earlier).unlink(missing_ok=True)
    if not index.is_file():
        pixels.unlink(missing_ok=True)  # not cut off: another process may have it mapped
    pixels.touch()
    index.touch()
    whole = min(pixels.stat().st_size // _image_bytes(config), index.stat().st_size // _LINE)
    os.truncate(pixels, whole * _image_bytes(config))
    os.truncate(index, whole * _LINE)
    text = index.read_bytes().decode("ascii", "replace")
    lines = (text[start : start + _LINE] for start in range(0, len(text), _LINE))
    return {line[:64]: (row, line[65:-1]) for row, line in enumerate(lines)}


def _sound(folder: Path, known: dict[str, tuple[int, str]], config: PixelConfig) -> dict[str, tuple[int, str]]:
    """Those of these rows whose pixels are as they were written."""
    if not known:
        return {}
    pixels = _mapped(folder / "pixels.bin", _n_rows(folder, config), config.size)
    sound = {key: (row, crc) for key, (row, crc) in known.items() if _checksum(pixels[row].data) == crc}
    if len(sound) < len(known):
        _log.warning("%s: pixels of %d images are damaged; they are decoded anew", folder, len(known) - len(sound))
    return sound


def _checksum(pixels: bytes | memoryview) -> str:
    """CRC-32 in hex: against damage, not against malice."""
    return f"{zlib.crc32(pixels):08x}"


def _n_rows(folder: Path, config: PixelConfig) -> int:
    return (folder / "pixels.bin").stat().st_size // _image_bytes(config)


def _mapped(file: Path, rows: int, size: int) -> UInt8[np.ndarray, "rows size size 3"]:
    """A copy-on-write map of the cache's first rows; others may append."""
    return np.memmap(file, np.uint8, mode="c", shape=(rows, size, size, 3))


def _gather(file: Path, rows: list[int], size: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Rows of the cache; if they are consecutive, a copy-on-write map of the file itself."""
    if not rows:
        return np.empty((0, size, size, 3), np.uint8)
    pixels = _mapped(file, max(rows) + 1, size)
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
