"""A changed photograph is nearest to the one that it was made from, and more like it than other lesions are."""

import numpy as np
import pytest

from augment.generate.copies import alike, nearest, similarity
from augment.generate.planted import CHANGES, planted

pytestmark = pytest.mark.numerical


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photograph_is_nearest_to_its_own(photographs, change):
    rows = np.arange(0, 120, 6)
    found = nearest(planted(photographs.pixels[rows], change), photographs.pixels, photographs.groups)
    assert (photographs.groups[found.rows] == photographs.groups[rows]).all()
    assert (found.similarity > 0.7).all()
    assert (found.excess > 0.3).all()


def test_a_photograph_is_itself_and_its_turns_exactly_and_another_lesion_is_not(photographs):
    one, other = photographs.pixels[:2]
    turned = np.ascontiguousarray(np.rot90(one, 3)[:, ::-1])
    assert similarity(one, one) == pytest.approx(1, abs=1e-3)
    assert similarity(turned, one) == pytest.approx(1, abs=1e-2)
    assert similarity(one, other) < 0.6


def test_photographs_of_one_group_are_not_compared(photographs):
    few, numbers = photographs.pixels[:12], np.arange(12)
    found = nearest(few, few, numbers, (numbers, numbers))
    assert (found.rows != numbers).all()
    assert (found.rows >= 0).all()
    alone = nearest(few[:1], few[:1], numbers[:1], (numbers[:1], numbers[:1]))
    assert (alone.rows.tolist(), alone.similarity.tolist(), alone.excess.tolist()) == ([-1], [-1.0], [0.0])


def test_the_excess_is_over_photographs_of_other_groups(photographs):
    few = np.concatenate([photographs.pixels[:6], photographs.pixels[:1]])  # the first stands there twice
    one = photographs.pixels[:1]
    in_one_group = nearest(one, few, np.array([0, 1, 2, 3, 4, 5, 0]))
    others = [max(similarity(one[0], other), -1) for other in photographs.pixels[1:6]]
    assert in_one_group.excess[0] == pytest.approx(1 - np.mean(others), abs=0.1)
    assert nearest(one, few, np.arange(7)).excess[0] < in_one_group.excess[0]


def test_an_image_has_few_photographs_and_a_block_of_them_changes_nothing(photographs, monkeypatch):
    images, few = photographs.pixels[100:104], photographs.pixels[:30]
    whole = alike(images, few)
    monkeypatch.setattr("augment.generate.copies._BLOCK", 7)
    blocks = alike(images, few)
    for one, other in zip(whole.rows, blocks.rows, strict=True):
        assert set(one) == set(other)
        assert len(set(one)) == len(one)
    np.testing.assert_allclose(np.sort(whole.similarity), np.sort(blocks.similarity), atol=1e-5)


def test_without_images_or_photographs_there_is_nothing_near(photographs):
    none = photographs.pixels[:0]
    assert nearest(none, photographs.pixels, photographs.groups).rows.shape == (0,)
    nothing = nearest(photographs.pixels[:2], none, photographs.groups[:0])
    assert (nothing.rows.tolist(), nothing.excess.tolist()) == ([-1, -1], [0.0, 0.0])


def test_images_of_another_size_are_compared_too(photographs):
    import cv2

    small = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in photographs.pixels[:5]])
    assert nearest(small, photographs.pixels, photographs.groups).rows.tolist() == [0, 1, 2, 3, 4]


def test_a_flat_image_is_like_nothing(photographs):
    flat = np.full((1, 64, 64, 3), 128, np.uint8)
    assert nearest(flat, photographs.pixels[:20], photographs.groups[:20]).similarity[0] == 0
