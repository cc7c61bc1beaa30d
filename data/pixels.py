"""The one pixel path: every image, real or synthetic, is cut, resized and coded here and nowhere else.

Otherwise a classifier learns which path an image came by instead of what it shows. Decoded images
are kept in a cache that grows: an image is decoded once, whichever manifests and arms ask for it.
The only file that uses albumentations.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Annotated, Literal, cast

import filelock
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import DataError
from data.files import archives
from data.files.dicom import SUFFIXES as DICOM
from data.files.dicom import read_dicom
from data.manifest import Manifest
from data.store import digest

_FLUSH = 256  # images decoded between two records of the cache
_KEY = 64 + 1  # bytes of one line of its index: a SHA-256 in hex and a newline
_BITS_PER_SAMPLE = 258  # TIFF tag
# Random views in training: what is drawn, and how likely. `classify.augmentation` does the same in batches.
AREA, RATIO = (0.75, 1.0), (0.9, 1.1)  # of a crop: its share of the image, its width over its height
BRIGHTNESS, CONTRAST, LIGHT_CHANCE = 0.1, 0.1, 0.8  # shares, up and down
HUE, SATURATION, COLOUR_CHANCE = 4, 12, 0.5  # up and down, of 180 and of 255
_DRAFT = 4  # a JPEG is decoded at least this many times larger than needed, each way


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PixelConfig:
    """The form in which models see images."""

    size: Annotated[int, Field(ge=8, le=2048)] = 64  # pixels, each side
    geometry: Literal["crop", "pad", "squash"] = "crop"  # largest central square | whole on black | stretched


def read_image(path: Path, config: PixelConfig) -> UInt8[np.ndarray, "size size 3"]:
    """Read one image as sRGB pixels, turned upright by its EXIF orientation. Raises DataError."""
    try:
        with archives.open_file(path) as file, open_image(path, file) as image:
            _refuse_frames(path, image)
            image.draft(image.mode, (_DRAFT * config.size,) * 2)
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_fit(_rgb(path, upright, _white(image)), config))
    except DataError:
        raise
    except FileNotFoundError as fault:
        raise DataError(f"{path}: no such image; restore it or remove its row") from fault
    except UnidentifiedImageError as fault:
        named = ", ".join(archives.FORMATS)
        raise DataError(
            f"{path}: not an image of a format that is read ({named}); export it again as JPEG or PNG"
        ) from fault
    except Image.DecompressionBombError as fault:
        raise DataError(f"{path}: too many pixels ({fault}); export it smaller") from fault
    except (OSError, SyntaxError, EOFError, ValueError, TypeError, LookupError, struct.error) as fault:  # all Pillow's
        raise DataError(f"{path}: broken image ({fault}); copy it anew or remove its row") from fault


def open_image(path: Path, file: IO[bytes]) -> Image.Image:
    """Open an image's bytes; Pillow decodes later, DICOM is decoded at once. Raises DataError, or Pillow's errors."""
    return read_dicom(path, file) if path.suffix.lower() in DICOM else Image.open(file, formats=archives.FORMATS)


def load_pixels(
    manifest: Manifest,
    config: PixelConfig,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> UInt8[np.ndarray, "n size size 3"]:
    """Read the manifest's images, in row order; a private copy, so writing to it changes no file.

    With a cache, images that were ever decoded there in this form are not decoded again; a file that
    has changed since is. A crash loses at most the last few hundred. `progress` is told how many of
    how many are there.
    """
    paths = manifest.paths()
    if cache is None:
        pixels = np.empty((len(paths), config.size, config.size, 3), np.uint8)
        for row, path in enumerate(paths):
            pixels[row] = read_image(path, config)
            _tell(progress, row + 1, len(paths))
        return pixels
    folder = cache / f"pixels-{config.size}-{config.geometry}"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        rows = _rows(folder, paths, config, progress)
    return _gather(folder / "pixels.bin", rows, config.size)


def _rows(
    folder: Path, paths: list[Path], config: PixelConfig, progress: Callable[[int, int], None] | None
) -> list[int]:
    """Find the cache's row of each path, after decoding and adding those that it lacks."""
    known = _recover(folder, config)
    keys = [_identity(path) for path in paths]
    missing = {key: path for key, path in zip(keys, paths, strict=True) if key not in known}
    there = len(set(keys)) - len(missing)
    with (folder / "pixels.bin").open("ab") as pixels, (folder / "index.txt").open("a", encoding="ascii") as index:
        for batch in _batches(list(missing.items())):
            pixels.write(b"".join(read_image(path, config).tobytes() for _, path in batch))
            _to_disk(pixels.fileno(), pixels.flush)
            index.write("".join(f"{key}\n" for key, _ in batch))
            _to_disk(index.fileno(), index.flush)
            for key, _ in batch:
                known[key] = len(known)
            there += len(batch)
            _tell(progress, there, len(set(keys)))
    return [known[key] for key in keys]


def train_augmentation(
    size: int, seed: int
) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "size size 3"]]:
    """Make random views of a lesion, which has no up or down: eight turns and flips, a light crop, a little colour.

    The n-th call after a seed always draws the same view; what comes back has `size` pixels a side.
    """
    albumentations = _albumentations()
    views = albumentations.Compose(
        [
            albumentations.D4(p=1.0),
            albumentations.RandomResizedCrop((size, size), scale=AREA, ratio=RATIO, p=1.0),
            albumentations.RandomBrightnessContrast(
                brightness_limit=BRIGHTNESS, contrast_limit=CONTRAST, p=LIGHT_CHANCE
            ),
            albumentations.HueSaturationValue(
                hue_shift_limit=HUE, sat_shift_limit=SATURATION, val_shift_limit=0, p=COLOUR_CHANCE
            ),
        ],
        seed=seed,
    )

    def view(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "size size 3"]:
        drawn: UInt8[np.ndarray, "size size 3"] = np.ascontiguousarray(views(image=image)["image"])
        return drawn

    return view


def _albumentations() -> ModuleType:
    """Import it on first use: it takes seconds, and only training needs it."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer release, and there is none
    import albumentations  # noqa: PLC0415 - see above

    return cast("ModuleType", albumentations)


def _white(image: Image.Image) -> int:
    """What white is in a grey image of more than 8 bits; a TIFF may have 12, which Pillow leaves as they are."""
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,)) if isinstance(image, TiffImageFile) else (16,)
    return int(2 ** bits[0] - 1)


def _refuse_frames(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a telephone's JPEG with a preview behind it
        raise DataError(f"{path}: holds {frames} pictures; save the one that is meant as a file of its own")


def _rgb(path: Path, image: Image.Image, white: int) -> Image.Image:
    """Eight bits a channel, whatever the file has; what would lose its meaning on the way is refused."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion turns all above 255 white
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide * 255 + white // 2) // white).astype(np.uint8))
    if image.mode in {"I", "F", "LAB", "HSV"}:
        raise DataError(f"{path}: mode {image.mode} has no one meaning as a photograph; export it as 8-bit RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, config: PixelConfig) -> Image.Image:
    """Area resampling when the image shrinks both ways, bicubic otherwise."""
    size, (width, height) = config.size, image.size
    side = min(width, height)
    filtered = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    if config.geometry == "crop":
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), filtered, box=(left, top, left + side, top + side))
    if config.geometry == "squash":
        return image.resize((size, size), filtered)
    scale = size / max(width, height)
    whole = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("RGB", (size, size))
    filtered = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BICUBIC
    square.paste(image.resize(whole, filtered), ((size - whole[0]) // 2, (size - whole[1]) // 2))
    return square


def _identity(path: Path) -> str:
    """Tell one version of one file from another without reading it."""
    try:
        stamp = archives.stamp_of(path)
    except OSError as fault:
        raise DataError(f"{path}: no such image; restore it or remove its row") from fault
    return digest(str(path.resolve()), *stamp)


def _recover(folder: Path, config: PixelConfig) -> dict[str, int]:
    """Read the cache's index, after cutting off what a crash left half written."""
    pixels, index = folder / "pixels.bin", folder / "index.txt"
    pixels.touch()
    index.touch()
    one = config.size * config.size * 3
    whole = min(pixels.stat().st_size // one, index.stat().st_size // _KEY)
    os.truncate(pixels, whole * one)
    os.truncate(index, whole * _KEY)
    return {key: row for row, key in enumerate(index.read_text(encoding="ascii").split())}


def _gather(file: Path, rows: list[int], size: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Rows of the cache; a map of the file itself, copied on writing, where they lie one after another."""
    if not rows:
        return np.empty((0, size, size, 3), np.uint8)
    pixels = np.memmap(file, np.uint8, mode="c", shape=(max(rows) + 1, size, size, 3))  # others may append
    first, n = rows[0], len(rows)
    if rows == list(range(first, first + n)):
        return pixels[first : first + n]
    return np.asarray(pixels[rows])


def _batches(items: list[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    return (items[start : start + _FLUSH] for start in range(0, len(items), _FLUSH))


def _to_disk(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)


def _tell(progress: Callable[[int, int], None] | None, done: int, of: int) -> None:
    if progress is not None:
        progress(done, of)
