"""The photographs that drawn images are nearest to."""

import numpy as np

from flows.page.neighbours import neighbours, read_for_comparison


def test_a_photograph_itself_has_no_distance_and_is_a_copy(open_one):
    opened = open_one()
    pixels = read_for_comparison(opened.photographs, opened.study.pixels, opened.study.cache)
    (found,) = neighbours([pixels[3]], opened.photographs, pixels)
    assert (found[0].row, found[0].is_copy) == (3, True)
    assert found[0].distance < 0.05
    assert found[0].image_id == opened.photographs.table["image_id"].iloc[3]
    assert [each.distance for each in found] == sorted(each.distance for each in found)
    assert len(found) == 3


def test_another_image_is_no_copy(open_one):
    opened = open_one()
    pixels = read_for_comparison(opened.photographs, opened.study.pixels, opened.study.cache)
    noise = np.random.default_rng(9).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (found,) = neighbours([noise], opened.photographs, pixels)
    assert not any(each.is_copy for each in found)


def test_no_image_has_no_neighbour(open_one):
    opened = open_one()
    pixels = read_for_comparison(opened.photographs, opened.study.pixels, opened.study.cache)
    assert neighbours([], opened.photographs, pixels) == []
