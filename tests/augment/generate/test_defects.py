"""Broken images by name, and photographs that never are."""

import numpy as np
import pytest

from augment.generate.defects import Limits, defects


@pytest.fixture
def limits(photographs):
    return Limits.of(photographs.pixels)


def test_no_photograph_is_broken(photographs, limits):
    assert {defects(image, limits) for image in photographs.pixels} == {()}


def broken(photograph):
    white = photograph.copy()
    white[:40] = 255
    not_finite = photograph.astype(float)
    not_finite[3, 3, 0] = np.nan
    return {
        "flat": np.full_like(photograph, 120),
        "saturated": white,
        "wrong size": photograph[:32],
        "not finite": not_finite,
    }


@pytest.mark.parametrize("name", ["flat", "saturated", "wrong size", "not finite"])
def test_a_broken_image_is_named(photographs, limits, name):
    assert defects(broken(photographs.pixels[0])[name], limits) == (name,)


def test_black_corners_that_photographs_have_are_no_defect(photographs):
    dark = photographs.pixels.copy()
    dark[:, :20] = 0
    assert defects(dark[0], Limits.of(dark)) == ()
    assert "saturated" in defects(dark[0], Limits.of(photographs.pixels))
