"""Masks that are painted in the browser."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError
from data.masks import read_masks
from data.pixels import PixelConfig
from flows.page.masks import painted, write_mask


def uri(rgba):
    buffer = io.BytesIO()
    Image.fromarray(rgba, "RGBA" if rgba.ndim == 3 else "L").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def strokes():
    canvas = np.zeros((8, 8, 4), np.uint8)
    canvas[2:4, 2:6] = (226, 84, 46, 200)
    return canvas


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_what_is_painted_is_where_the_canvas_is_not_clear():
    mask = painted(uri(strokes()))
    assert (mask > 0).sum() == 8
    assert mask[3, 5] == 255
    assert painted("") is None


@pytest.mark.parametrize("sent", ["x", "data:image/png;base64,!!", "data:image/png;base64,aGk=", "data:text/html,hi"])
def test_anything_else_is_refused(sent):
    with pytest.raises(ConfigError, match="clear it and paint again"):
        painted(sent)


def test_a_jpeg_that_calls_itself_a_png_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    with pytest.raises(ConfigError, match="cannot be read"):
        painted("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())


def test_the_mask_is_written_at_the_photographs_size_and_read_as_a_studys_is(open_one, tmp_path):
    shots = open_one().prepared.shots["df"]
    image = shots.table["image_id"].iloc[0]
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    write_mask(mask, shots, image, tmp_path / "masks")
    one = shots.where(shots.table["image_id"] == image)
    (read,) = read_masks(tmp_path / "masks", one, PixelConfig(size=16))
    assert read[:8].all()
    assert not read[8:].any()


@pytest.mark.parametrize(("value", "words"), [(0, "no mask is painted"), (255, "covers everything")])
def test_an_empty_mask_and_a_full_one_are_refused(open_one, tmp_path, value, words):
    shots = open_one().prepared.shots["df"]
    with pytest.raises(ConfigError, match=words):
        write_mask(np.full((8, 8), value, np.uint8), shots, "any", tmp_path)
