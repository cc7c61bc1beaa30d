"""What a reader is told must be what the figures say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports import text as wording
from reports.evaluation import verdict
from reports.schema import Change, Difference
from reports.summary import summarise


def _with_difference(summary, low, high):
    first = summary.differences[0]
    changed = replace(first, mean=(low + high) / 2, low=low, high=high, verdict=verdict(low, high))
    return replace(summary, differences=(changed, *summary.differences[1:]))


@pytest.mark.parametrize(
    ("low", "high", "said", "not_said"),
    [
        (0.01, 0.05, "Synthetic images raised balanced accuracy", "no clear difference"),
        (-0.05, -0.01, "Synthetic images lowered balanced accuracy", "no clear difference"),
        (-0.01, 0.05, "Synthetic images made no clear difference to balanced accuracy", "raised"),
        (0.0, 0.05, "Synthetic images made no clear difference to balanced accuracy", "raised"),
    ],
)
def test_the_answer_follows_the_interval(make_run, low, high, said, not_said):
    answer = wording.answer(_with_difference(summarise(make_run()), low, high))
    assert answer.startswith(said)
    assert not_said not in answer
    assert f"{wording.points((low + high) / 2)} points [{wording.points(low)}, {wording.points(high)}] (95 %)" in answer


def test_the_answer_names_both_arms_with_their_figures(make_run):
    summary = summarise(make_run())
    scores = summary.balanced_accuracy
    expected = f"synthetic {scores['synthetic'].mean:.3f} against oversampled {scores['oversampled'].mean:.3f}"
    assert expected in wording.answer(summary)


def test_a_run_without_a_synthetic_arm_does_not_answer_for_it(make_run):
    answer = wording.answer(summarise(make_run(arms=("real", "oversampled"))))
    assert answer.startswith("This run has no synthetic arm and does not say whether synthetic images help.")
    assert "oversampled" in answer


def test_a_single_arm_has_nothing_to_be_compared_with(make_run):
    summary = summarise(make_run(arms=("real",)))
    assert "nothing to compare" in wording.answer(summary)
    assert summary.differences == ()


@pytest.mark.parametrize(
    ("model", "weights", "said"),
    [
        ("efficientnet_b0", "none", "efficientnet_b0, from scratch"),
        ("efficientnet_b0", "pretrained", "efficientnet_b0, begun with timm’s pretrained weights"),
        ("tf_efficientnet_lite0", "lite0-package", "a stand-in for EfficientNet-B0"),
        ("efficientnet_b0", "mine.safetensors", "begun with the weights in mine.safetensors"),
    ],
)
def test_what_the_classifier_began_with_is_named(make_run, model, weights, said):
    summary = summarise(make_run())
    summary.config["classifier"] |= {"model": model, "weights": weights}
    assert said in wording.classifier(summary)


def test_without_an_oversampled_arm_re_balancing_is_named_as_a_cause(make_run):
    summary = summarise(make_run(arms=("real", "synthetic")))
    assert "re-balancing may be part of the effect" in wording.caveat(summary)
    assert "re-balancing may be part" not in wording.caveat(summarise(make_run(name="three")))


def test_the_caveat_names_classes_that_few_groups_are_behind(make_run):
    few = wording.caveat(summarise(make_run()))
    assert "Fewer than 10 leakage groups each are behind akiec (6), bcc (8), df (4) and vasc (4); the interval" in few
    assert "Fewer than" not in wording.caveat(summarise(make_run(name="two", classes=("bkl", "mel", "nv"), rare=())))


def test_what_ties_groups_is_told_where_something_does(make_run):
    split = summarise(make_run()).split
    assert wording.links(split) == "120 patient, 300 lesion and 7 duplicate links"
    assert wording.links(replace(split, links={"patient": 0, "lesion": 0, "duplicate": 7})) == "7 duplicate links"
    assert wording.links(replace(split, links={"patient": 0})) == ""


def test_the_caveat_names_classes_that_could_not_be_judged(make_run):
    assert "left out: df." in wording.caveat(summarise(make_run(absent=("df",))))


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0216, "+2.2"), (-0.01, "−1.0"), (0.0, "0.0"), (-0.0001, "0.0"), (0.0004, "0.0"), (None, "–")],
)
def test_points_carry_their_sign_unless_they_round_to_zero(value, written):
    assert wording.points(value) == written


def test_ticks_have_no_more_decimals_than_they_need():
    assert [wording.whole_points(v) for v in (-0.05, 0.0, 0.025)] == ["−5", "0", "+2.5"]


def test_an_undefined_interval_is_left_out():
    assert wording.point_interval(Change(mean=None, low=None, high=None)) == ""


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.04, "0.0 s"), (9.2, "9.2 s"), (42, "42 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations_read_as_a_person_says_them(seconds, written):
    assert wording.duration(seconds) == written


def test_an_interval_is_not_broken_over_two_lines():
    text = wording.unbroken("difference +2.2 points [−1.0, +5.4] (95 %) or so")
    nbsp = "\N{NO-BREAK SPACE}"
    assert text == f"difference +2.2{nbsp}points [−1.0,{nbsp}+5.4]{nbsp}(95{nbsp}%) or so"


def test_names_are_listed_as_in_a_sentence():
    assert [wording.listing(n) for n in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]


def test_both_regimes_are_named(make_run):
    assert wording.regime(summarise(make_run())).startswith("shots: only the generator is limited")
    assert wording.regime(summarise(make_run(name="few", regime="limited"))).startswith("limited: of each rare class")


def test_arms_of_other_names_are_compared_too(make_run):
    summary = summarise(make_run())
    difference = Difference(
        first="mixup",
        second="real",
        mean=0.0,
        low=0.0,
        high=0.0,
        per_seed={},
        verdict="unclear",
        by_class={},
        varied="",
    )
    assert wording.subject(summary, difference) == "The arm mixup"
    assert wording.question(summary, difference) == "what mixup brings over real"


def test_images_made_elsewhere_answer_the_question_where_there_are_no_own(make_run):
    summary = summarise(make_run(arms=("real", "oversampled"), elsewhere={"theirs": None}))
    assert wording.answer(summary).startswith("Images made elsewhere (theirs) made no clear difference")
    assert "content of the synthetic images" in wording.question(summary, summary.differences[0])
    assert wording.arm_note(summary, "theirs").endswith("made elsewhere, from /made/theirs")
    assert "re-balancing may be part" not in wording.caveat(summary)
    alone = summarise(make_run(name="alone", arms=("real",), elsewhere={"theirs": None}))
    assert "re-balancing may be part" in wording.caveat(alone)


def test_what_is_known_of_images_made_elsewhere_is_said(make_run):
    summary = summarise(make_run(elsewhere={"theirs": None, "ours": ["g-1", "g-2"]}))
    unknown, known = (wording.lineage(summary.elsewhere[arm]) for arm in ("theirs", "ours"))
    assert "30 images from /made/theirs, only 29 of them different files. Their lineage is unknown" in unknown
    assert "2 images are nearly the same as one of the train part" in unknown
    assert "their generator has seen 2 leakage groups of train" in known
    assert "unknown" not in known


def test_a_class_is_said_in_the_study_s_own_words(make_run):
    summary = summarise(make_run())
    assert wording.class_name(summary, "mel") == "melanoma"
    summary.config["prompts"] = {"words": {"mel": "dark mole", "nv": "NV"}}
    assert [wording.class_name(summary, label) for label in ("mel", "nv")] == ["dark mole", ""]


def test_the_caveat_says_where_one_seed_leaves_chance_out(make_run):
    one, two = (wording.caveat(summarise(make_run(name=f"s{len(seeds)}", seeds=seeds))) for seeds in ((4,), (4, 5)))
    assert "1 classifier an arm" in one
    assert "another classifier seed would change is not in the interval" in one
    assert "2 classifiers an arm" in two
    assert "another classifier seed" not in two
