import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from augment.generate.mark import ALTERED, SOFTWARE, SYNTHETIC, metadata, origin_of, stamped

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def saved(image, file_format, **more):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **more)
    return Image.open(buffer)


def noise(edge=40):
    return np.random.default_rng(0).integers(0, 256, (edge, edge, 3), dtype=np.uint8)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("origin", [SYNTHETIC, ALTERED])
def test_metadata_name_the_source_and_change_no_pixel(file_format, origin):
    plain, marked = saved(noise(), file_format), saved(noise(), file_format, **metadata(file_format, origin))
    assert (origin_of(plain), origin_of(marked)) == ("", origin)
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(marked))
    assert plain.size == marked.size


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_the_packet_is_xmp_as_iptc_wants_it(file_format):
    packet = saved(noise(), file_format, **metadata(file_format)).info["xmp"].decode()
    description = ET.fromstring(packet).find(f"{RDF}RDF/{RDF}Description")  # noqa: S314 - our own
    address = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.attrib[IPTC] == address
    assert description.attrib["{http://ns.adobe.com/xap/1.0/}CreatorTool"] == SOFTWARE


def test_the_software_is_named_where_simple_readers_look():
    assert saved(noise(), "JPEG", **metadata("JPEG")).getexif()[0x0131] == SOFTWARE
    assert saved(noise(), "PNG", **metadata("PNG")).info["Software"] == SOFTWARE


@pytest.mark.parametrize("edge", [8, 16, 32, 64, 96, 512])
def test_a_word_stands_in_the_lower_left_corner_and_the_rest_is_as_it_was(edge):
    image = np.full((edge, edge, 3), 128, np.uint8)
    marked = stamped(image)
    assert (image == 128).all()
    rows, columns = np.nonzero((marked != image).any(axis=2))
    assert rows.max() == edge - 1
    assert columns.min() == 0
    assert edge - rows.min() <= 16
    assert columns.max() < 60
    assert (marked == 0).any()
    assert (marked > 200).any()


def test_the_word_is_the_longest_that_fits():
    widths = [
        np.nonzero((stamped(np.full((64, edge, 3), 9, np.uint8)) == 0).all(axis=2))[1].max() for edge in (20, 40, 60)
    ]
    assert widths == sorted(set(widths))


def test_a_mark_survives_jpeg_and_being_made_half_as_large():
    marked = saved(stamped(np.full((96, 96, 3), 180, np.uint8)), "JPEG", quality=75).resize((48, 48))
    corner = np.asarray(marked)[-6:, :20].astype(int)
    assert corner.min() < 40
    assert np.asarray(marked)[:30].min() > 150
