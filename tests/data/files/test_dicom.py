"""DICOM photographs read as their PNG would; without pydicom they are refused in words."""

import builtins

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.pixels import PixelConfig, read_image

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
CONFIG = PixelConfig(size=16)


def write(path, pixels, kind, **tags):
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    record = pydicom.Dataset()
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    record.SOPClassUID, record.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.3"
    record.Rows, record.Columns = pixels.shape[:2]
    record.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    record.PhotometricInterpretation = kind
    record.BitsAllocated = record.BitsStored = 8 * pixels.itemsize
    record.HighBit, record.PixelRepresentation = record.BitsStored - 1, 0
    if pixels.ndim == 3:
        record.PlanarConfiguration = 0
    for name, value in tags.items():
        setattr(record, name, value)
    record.PixelData = pixels.tobytes()
    record.save_as(path, enforce_file_format=True)
    return path


def test_a_colour_photograph_reads_as_its_pixels(tmp_path):
    assert (read_image(write(tmp_path / "a.dcm", NOISE, "RGB"), CONFIG) == NOISE).all()


def test_another_colour_space_is_turned_to_rgb(tmp_path):
    ycbcr = np.asarray(Image.fromarray(NOISE).convert("YCbCr"))
    pixels = read_image(write(tmp_path / "a.dcm", ycbcr, "YBR_FULL"), CONFIG)
    assert np.abs(pixels.astype(int) - NOISE).max() <= 4, "rounded on the way there and back"


def test_grey_of_either_polarity_reads_the_same(tmp_path):
    grey = NOISE[..., 0]
    for kind, stored in (("MONOCHROME2", grey), ("MONOCHROME1", 255 - grey)):
        pixels = read_image(write(tmp_path / "a.dcm", np.ascontiguousarray(stored), kind), CONFIG)
        assert (pixels == grey[..., None]).all(), kind


def test_a_window_tells_what_is_black_and_white(tmp_path):
    wide = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    window = {"WindowCenter": 1024, "WindowWidth": 1024}
    pixels = read_image(write(tmp_path / "a.dcm", wide, "MONOCHROME2", **window), CONFIG)[..., 0].ravel()
    assert pixels[wide.ravel() < 500].max() == 0
    assert pixels[wide.ravel() > 1540].min() == 255
    assert abs(int(pixels[64]) - 128) <= 2


def test_what_has_no_one_look_is_refused_in_words(tmp_path):
    wide = np.zeros((16, 16), np.uint16)
    with pytest.raises(DataError, match=r"a\.dcm: 16 bits of grey and no window; export it as 8-bit PNG"):
        read_image(write(tmp_path / "a.dcm", wide, "MONOCHROME2"), CONFIG)
    with pytest.raises(DataError, match=r"a\.dcm: RGB with 16 bits a channel; export it as 8-bit RGB"):
        read_image(write(tmp_path / "a.dcm", NOISE.astype(np.uint16), "RGB"), CONFIG)
    with pytest.raises(DataError, match=r"a\.dcm: holds 2 images"):
        read_image(write(tmp_path / "a.dcm", NOISE[:8], "RGB", Rows=4, NumberOfFrames=2), CONFIG)


def test_what_is_no_dicom_or_lacks_its_pixels_is_refused_in_words(tmp_path):
    path = write(tmp_path / "a.dcm", NOISE, "RGB")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.dcm: broken DICOM .*; copy it anew"):
        read_image(path, CONFIG)
    path.write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"a\.dcm: not a DICOM file"):
        read_image(path, CONFIG)


def test_without_pydicom_it_is_said_what_to_install(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pydicom"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match=r"a\.dcm: reading DICOM needs pydicom \(the extra `dicom`\); install it"):
        read_image(tmp_path / "a.dcm", CONFIG)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = write(tmp_path / "a.dcm", NOISE, "RGB", Rows=20_000, Columns=20_000)
    with pytest.raises(DataError, match=r"a\.dcm: has 20,000 x 20,000 pixels and would fill the memory"):
        read_image(path, CONFIG)


def test_a_data_set_that_is_compressed_as_a_whole_is_refused_unpacked(tmp_path, monkeypatch):
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    path = write(tmp_path / "a.dcm", NOISE, "RGB")
    record = pydicom.dcmread(path)
    record.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    record.save_as(path)
    monkeypatch.setattr(pydicom.filereader.zlib, "decompress", None)
    with pytest.raises(DataError, match=r"a\.dcm: its whole data set is compressed \(Deflated .*\); export it as PNG"):
        read_image(path, CONFIG)
