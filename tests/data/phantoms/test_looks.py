"""The seven lesions on bare skin, without a camera; whether classes can be distinguished: test_table.py."""

import numpy as np
import pytest

from data.phantoms.fields import EXTENT, grid
from data.phantoms.looks import LOOKS
from data.phantoms.table import CODES

N = 96
SKIN = np.broadcast_to(np.array([0.86, 0.69, 0.62], np.float32)[:, None, None], (3, N, N))


def lesions(dx, seeds=range(12)):
    return np.stack([LOOKS[dx](SKIN.copy(), np.random.default_rng(seed)) for seed in seeds])


@pytest.mark.parametrize("dx", CODES)
def test_a_lesion_lies_in_the_middle_of_skin_that_it_leaves_as_it_was(dx):
    drawn = lesions(dx)
    assert drawn.shape == (12, 3, N, N)
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert drawn.max() < 1.25  # light on a raised lesion; the camera clips it
    change = np.abs(drawn - SKIN).max(axis=1)
    x, y = grid(N)
    radius = np.hypot(x, y)
    middle, corner = change[:, radius < 0.3].mean(axis=1), change[:, radius > EXTENT].mean(axis=1)
    assert (middle > 0.03).all()
    assert (corner < 0.01).all()


@pytest.mark.parametrize("dx", CODES)
def test_the_seed_is_the_lesion(dx):
    drawn = lesions(dx)
    np.testing.assert_array_equal(drawn, lesions(dx))
    assert len({one.tobytes() for one in drawn}) == 12


def test_each_class_has_a_look_of_its_own():
    assert tuple(LOOKS) == CODES
    drawn = {dx: lesions(dx) for dx in CODES}
    assert len({one[0].tobytes() for one in drawn.values()}) == len(CODES)
    x, y = grid(N)
    inside = np.hypot(x, y) < 0.25
    colours = {dx: images[:, :, inside].mean(axis=(0, 2)) for dx, images in drawn.items()}
    for one in CODES:
        others = [np.abs(colours[one] - colours[other]).max() for other in CODES if other != one]
        assert min(others) > 0.01, one
