"""Planted copies: each is changed, by the seed alone, and stays a photograph of the same size."""

import numpy as np
import pytest

from augment.generate.planted import CHANGES, planted


@pytest.fixture
def some(rng):
    return rng.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_each_photograph_and_the_seed_repeats_it(some, change):
    changed = planted(some, change, seed=1)
    assert (changed.shape, changed.dtype) == (some.shape, some.dtype)
    assert all((one != other).any() for one, other in zip(changed, some, strict=True))
    assert (changed == planted(some, change, seed=1)).all()


def test_turns_leave_every_pixel_there_and_noise_is_light(some):
    turned, noisy = planted(some, "rotated or flipped"), planted(np.full_like(some, 128), "light noise")
    for one, other in zip(turned, some, strict=True):
        assert (np.sort(one, axis=None) == np.sort(other, axis=None)).all()
    assert noisy.astype(float).std() == pytest.approx(4, rel=0.1)


def test_no_photographs_give_no_copies(some):
    assert len(planted(some[:0], "JPEG 75")) == 0
