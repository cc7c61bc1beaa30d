"""Image files decoded to upright 8-bit RGB, whatever format, mode and bit depth they are stored in."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from data.errors import DataError
from data.files.archives import FORMATS, open_file
from data.files.dicom import SUFFIXES as DICOM
from data.files.dicom import read_dicom
from data.files.rules import require_pixels, rules, too_many_pixels
from data.files.wide import is_wide, wide_values

_BITS_PER_SAMPLE = 258  # TIFF tag
_SWAPPED = range(5, 9)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112  # EXIF tag
_WHITE = 255
_DRAFT = 4  # a JPEG is decoded at least this many times larger than needed, each way


_JPEG_END = b"\xff\xd9"  # the marker


def read_rgb(path: Path, size: int, bits: int | None = None) -> Image.Image:
    """One image in mode RGB, upright by its EXIF orientation; a JPEG may be decoded smaller than it is.

    It is never decoded to fewer than 4 * `size` pixels a side, if it has as many. `bits`: how many count in an image of
    16 bits a channel; None: all. Raises DataError, also for a value that has more.
    """
    with _opened(path) as image:
        _refuse_frames(path, image)
        if bits is not None and is_wide(image):
            narrow = Image.fromarray(_narrowed(path, wide_values(path, image), 2**bits - 1))
            narrow.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
            return ImageOps.exif_transpose(narrow).convert("RGB")
        image.draft(image.mode, (_DRAFT * size,) * 2)
        upright = ImageOps.exif_transpose(image)
        return _rgb(path, upright, _white(image))


def read_header(path: Path) -> tuple[tuple[int, int], str]:
    """Width and height of the upright image in pixels, and Pillow's mode of the stored one. Raises DataError."""
    with _opened(path) as image:
        swapped = image.getexif().get(_ORIENTATION) in _SWAPPED
        return image.size[::-1] if swapped else image.size, image.mode


def read_range(path: Path) -> tuple[int, int, int]:
    """The least and the greatest value of any channel, and that of white, as they are stored. Raises DataError."""
    with _opened(path) as image:
        if is_wide(image):
            values = wide_values(path, image)
            return int(values.min()), int(values.max()), _white(image)
        lows, highs = zip(*np.reshape(image.convert("RGB").getextrema(), (3, 2)).tolist(), strict=True)
        return min(lows), max(highs), _WHITE


def is_whole(path: Path) -> bool:
    """Whether an image that Pillow wrote can be read to its end; a JPEG whose last bytes are lost can be, too."""
    try:
        if path.suffix.lower() in {".jpg", ".jpeg"} and not path.read_bytes().endswith(_JPEG_END):
            return False
        with _opened(path) as image:
            image.load()
    except (DataError, OSError):
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, which Pillow decodes later and pydicom at once; every error in the block is a DataError."""
    try:
        with open_file(path) as file, _open(path, file) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError as fault:
        raise DataError(f"{path}: no such image; restore it or remove its row") from fault
    except UnidentifiedImageError as fault:
        raise DataError(
            f"{path}: not an image of a format that is read ({', '.join(FORMATS)}); export it again as JPEG or PNG"
        ) from fault
    except Image.DecompressionBombError as fault:
        raise too_many_pixels(path, f"over {2 * rules().max_image_pixels:,}") from fault
    except (OSError, SyntaxError, EOFError, ValueError, TypeError, LookupError, struct.error) as fault:  # all Pillow's
        raise DataError(f"{path}: broken image ({fault}); copy it anew or remove its row") from fault


def _open(path: Path, file: io.BytesIO | io.BufferedReader) -> Image.Image:
    if path.suffix.lower() in DICOM:
        return read_dicom(path, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is refused below, in one line
        image = Image.open(file, formats=FORMATS)
    require_pixels(path, image.width, image.height)
    return image


def _narrowed(path: Path, values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    """Eight bits of values up to `white`. Raises DataError for a greater one."""
    if int(values.max()) > white:
        raise DataError(f"{path}: has values up to {values.max():,}, and pixels.bits allows {white:,}; raise it")
    return ((values.astype(np.uint32) * _WHITE + white // 2) // white).astype(np.uint8)


def _white(image: Image.Image) -> int:
    """The value of white in a greyscale image of more than 8 bits; Pillow does not scale a TIFF of 12 bits."""
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,)) if isinstance(image, TiffImageFile) else (16,)
    return int(2 ** bits[0] - 1)


def _refuse_frames(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a telephone's JPEG with a preview behind it
        raise DataError(f"{path}: holds {frames} images; save the one to use as a file of its own")


def _rgb(path: Path, image: Image.Image, white: int) -> Image.Image:
    """Eight bits a channel from any mode. Raises DataError for a mode without a definite rendering as RGB."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion turns all above 255 white
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide * 255 + white // 2) // white).astype(np.uint8))
    if image.mode in {"I", "F", "LAB", "HSV"}:
        raise DataError(f"{path}: mode {image.mode} has no definite rendering as RGB; export it as 8-bit RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
