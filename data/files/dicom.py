"""DICOM photographs as Pillow images: the optional extra `dicom` (pydicom).

pydicom converts colour spaces and applies palettes and windows. A greyscale image of more than 8 bits without a
window has no definite rendering, and is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.errors import DataError
from data.files.rules import require_pixels

SUFFIXES = frozenset({".dcm", ".dicom"})
_BEYOND = 1e9  # outside any window: what pydicom maps it to is black or white


def read_dicom(path: Path, file: IO[bytes]) -> Image.Image:
    """One DICOM photograph, decoded, in mode L or RGB. Raises DataError."""
    try:
        import pydicom  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise DataError(
            f"{path}: reading DICOM needs pydicom (the extra `dicom`); install it, or export the image as PNG"
        ) from fault
    try:
        _refuse_deflated(path, file)
        record = pydicom.dcmread(file)
        require_pixels(path, int(record.Columns), int(record.Rows))  # before they are decoded
        frames = int(record.get("NumberOfFrames", 1) or 1)
        if frames > 1:
            raise DataError(f"{path}: holds {frames} images; save the one to use as a file of its own")
        return Image.fromarray(_eight_bits(path, record, record.pixel_array))
    except pydicom.errors.InvalidDicomError as fault:
        raise DataError(f"{path}: not a DICOM file that can be read; export it again") from fault
    except (RuntimeError, NotImplementedError) as fault:  # pydicom lacks the decoder, or knows none
        kind = record.file_meta.TransferSyntaxUID.name
        raise DataError(
            f"{path}: its compression ({kind}) cannot be decoded here; install pylibjpeg, or export it as PNG"
        ) from fault
    except (AttributeError, KeyError, ValueError, OSError, EOFError) as fault:
        if isinstance(fault, DataError):
            raise
        raise DataError(f"{path}: broken DICOM ({fault}); copy it anew or remove its row") from fault


def _refuse_deflated(path: Path, file: IO[bytes]) -> None:
    """Raise DataError for a data set that is compressed as a whole, which pydicom unpacks without a limit."""
    from pydicom import filereader, uid  # noqa: PLC0415 - an extra

    filereader.read_preamble(file, force=False)
    kind = filereader._read_file_meta_info(file).get("TransferSyntaxUID")  # noqa: SLF001 - no public one takes a file
    file.seek(0)
    if kind == uid.DeflatedExplicitVRLittleEndian:
        raise DataError(f"{path}: its whole data set is compressed ({kind.name}); export it as PNG")


def _eight_bits(path: Path, record: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:  # noqa: ANN401 - a pydicom Dataset
    from pydicom import pixels  # noqa: PLC0415 - an extra

    kind = str(record.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        coloured = pixels.apply_color_lut(stored, record)
        return _scaled(coloured.astype(np.float64), 0, np.iinfo(coloured.dtype).max)
    if not kind.startswith("MONOCHROME"):
        if record.BitsStored > 8:  # noqa: PLR2004
            raise DataError(f"{path}: {kind} with {record.BitsStored} bits a channel; export it as 8-bit RGB")
        return stored.astype(np.uint8)
    grey = pixels.apply_voi_lut(pixels.apply_modality_lut(stored, record), record).astype(np.float64)
    low, high = _range(path, record)
    return _scaled(grey, high, low) if kind == "MONOCHROME1" else _scaled(grey, low, high)


def _range(path: Path, record: Any) -> tuple[float, float]:  # noqa: ANN401 - a pydicom Dataset
    """The values of black and white."""
    from pydicom import pixels  # noqa: PLC0415 - an extra

    if "VOILUTSequence" in record:
        return 0, 2 ** int(record.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if "WindowWidth" in record:
        ends = pixels.apply_voi_lut(np.array([-_BEYOND, _BEYOND]), record)
        return float(ends[0]), float(ends[1])
    if record.BitsStored > 8 or record.PixelRepresentation == 1:  # noqa: PLR2004
        raise DataError(
            f"{path}: {record.BitsStored} bits of grey and no window; export it as 8-bit PNG as it is shown"
        )
    return 0, 2 ** int(record.BitsStored) - 1


def _scaled(values: NDArray[np.float64], black: float, white: float) -> NDArray[np.uint8]:
    unit = (values - black) / (white - black)
    return np.asarray(np.clip(np.rint(255 * unit), 0, 255), np.uint8)
