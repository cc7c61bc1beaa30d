"""The statistics are those published, and complete for every class."""

import pytest

from data.phantoms.ham10000 import AGES, DX_TYPES, FEMALE, IMAGES, LESIONS, SITE_WEIGHTS, SITES


def test_counts_sum_up_to_those_published():
    assert (sum(IMAGES.values()), sum(LESIONS.values())) == (10015, 7470)


def test_every_class_has_an_entry_in_every_table():
    for table in (LESIONS, AGES, FEMALE, DX_TYPES, SITE_WEIGHTS):
        assert table.keys() == IMAGES.keys()


@pytest.mark.parametrize("code", IMAGES)
def test_shares_of_a_class_make_a_whole(code):
    assert sum(DX_TYPES[code].values()) == pytest.approx(1)
    assert len(SITE_WEIGHTS[code]) == len(SITES)
    assert sum(SITE_WEIGHTS[code]) == pytest.approx(100, abs=3)  # rounded to whole percents
