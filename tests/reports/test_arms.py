"""What is compared with what, and in which order, by the table of the arms alone."""

from __future__ import annotations

import pytest

from classify.arms import ARMS, FULL, Arm, arm_of, first
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
    assert _pairs("autoencoded", "synthetic", "oversampled", "real") == expected  # whatever the order in the run
    assert _pairs("real", "autoencoded") == [("autoencoded", "real")]


def test_the_headline_stays_the_same_whatever_other_arms_there_are():
    pairs = _pairs(*reversed(FULL), external=("theirs",))
    assert pairs[:3] == [*HEADLINES, ("synthetic", "autoencoded")]
    firsts = list(dict.fromkeys(one for one, _ in pairs))
    generated = [name for name in FULL if arm_of(name).is_generated]
    assert sorted(firsts[: len(generated)]) == sorted(generated)
    assert firsts[len(generated) :] == ["theirs", "autoencoded", "mixup", "classical", "oversampled", "balanced"]


def test_arms_with_a_number_are_compared_as_their_rows_say():
    assert _pairs("real", "real@32", "synthetic@2x", "synthetic")[-1] == ("synthetic@2x", "synthetic")
    assert arms_of(("real@32", "synthetic@0.5x"), ()) == {name: arm_of(name) for name in ("real@32", "synthetic@0.5x")}


def test_arms_without_a_counterpart_are_compared_with_the_one_before():
    assert _pairs(external=("a", "b", "c")) == [("b", "a"), ("c", "b")]
    assert _pairs("real") == []


@pytest.mark.parametrize(("is_generated", "place"), [(True, 0), (False, 2)])
def test_a_new_row_of_the_table_is_compared_as_the_row_says(monkeypatch, is_generated, place):
    trial = Arm(name="trial", source="synthetic", rows=first, compared_with=("oversampled",), mark="cross",
                tone="other", note="", subject="", is_generated=is_generated)  # fmt: skip
    monkeypatch.setitem(ARMS, "trial", trial)
    assert _pairs(*TODAY, "trial").index(("trial", "oversampled")) == place


def test_an_arm_of_no_row_is_refused():
    with pytest.raises(InputError, match=r"arm 'mixed': is not one of real, balanced, oversampled, classical, mixup, "):
        arms_of(("real", "mixed"), ())
    with pytest.raises(InputError, match="arm 'synthetic@0x'"):
        arms_of(("real", "synthetic@0x"), ())
