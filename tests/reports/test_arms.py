"""What is compared with what, and in which order, by the table of the arms alone."""

from __future__ import annotations

import pytest

from classify.arms import ARMS, Arm, first
from data.errors import InputError
from reports.arms import arms_of, comparisons

TODAY = ("real", "oversampled", "synthetic")
HEADLINES = [("synthetic", "oversampled"), ("synthetic", "real")]


def _pairs(*names, external=()):
    return comparisons(list(arms_of((*names, *external), external).values()))


def test_the_headline_is_synthetic_against_oversampled():
    assert _pairs(*TODAY) == [*HEADLINES, ("oversampled", "real")]


def test_an_external_arm_is_compared_after_the_headline():
    theirs = [("theirs", "oversampled"), ("theirs", "real"), ("theirs", "synthetic")]
    assert _pairs(*TODAY, external=("theirs",)) == [*HEADLINES, *theirs, ("oversampled", "real")]
    assert _pairs("real", "oversampled", external=("theirs",))[0] == ("theirs", "oversampled")


def test_external_arms_keep_the_order_of_the_run():
    firsts = [one for one, _ in _pairs(*TODAY, external=("zebra", "ape"))]
    assert firsts == ["synthetic"] * 2 + ["zebra"] * 3 + ["ape"] * 3 + ["oversampled"]


def test_the_coding_of_images_is_compared_before_what_re_balancing_brings():
    coding = [("autoencoded", "oversampled"), ("autoencoded", "real")]
    expected = [*HEADLINES, ("synthetic", "autoencoded"), *coding, ("oversampled", "real")]
    assert _pairs(*TODAY, "autoencoded") == expected
    assert _pairs(*ARMS) == expected  # whatever the order in the run
    assert _pairs("real", "autoencoded") == [("autoencoded", "real")]


def test_arms_without_a_counterpart_are_compared_with_the_one_before():
    assert _pairs(external=("a", "b", "c")) == [("b", "a"), ("c", "b")]
    assert _pairs("real") == []


@pytest.mark.parametrize(("is_generated", "place"), [(True, 0), (False, 2)])
def test_a_new_row_of_the_table_is_compared_as_the_row_says(monkeypatch, is_generated, place):
    trial = Arm(name="trial", source="synthetic", rows=first, compared_with=("oversampled",), mark="cross",
                note="", subject="", is_generated=is_generated)  # fmt: skip
    monkeypatch.setitem(ARMS, "trial", trial)
    assert _pairs(*TODAY, "trial").index(("trial", "oversampled")) == place


def test_an_arm_of_no_row_is_refused():
    with pytest.raises(InputError, match=r"arm 'mixup': is not one of real, oversampled, autoencoded, synthetic"):
        arms_of(("real", "mixup"), ())
