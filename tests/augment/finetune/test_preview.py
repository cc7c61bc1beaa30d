import numpy as np
import pytest
from PIL import Image

from augment.finetune.preview import write_strip

COLOURS = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)


@pytest.mark.parametrize(("size", "edge"), [(512, 128), (64, 64)])
def test_images_stand_side_by_side_in_order_made_small_but_never_larger(tmp_path, size, edge):
    images = np.broadcast_to(COLOURS[:, None, None], (3, size, size, 3))
    write_strip(np.ascontiguousarray(images), tmp_path / "previews" / "step-000100.jpg")
    with Image.open(tmp_path / "previews" / "step-000100.jpg") as strip:
        assert (strip.format, strip.size) == ("JPEG", (3 * edge, edge))
        pixels = np.asarray(strip).astype(int)
    np.testing.assert_allclose(pixels[edge // 2, edge // 2 :: edge], COLOURS, atol=6)
