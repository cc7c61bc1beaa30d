"""What a reader is told must be what the figures say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from classify.arms import ARMS, external_arm
from reports import text
from reports.evaluation import verdict
from reports.numbers import points
from reports.pooled import pool
from reports.run_folder import repeats_of
from reports.summary import summarise


def _with_difference(summary, low, high):
    first = summary.differences[0]
    changed = replace(first, mean=(low + high) / 2, low=low, high=high, verdict=verdict(low, high), smallest=0.0716)
    return replace(summary, differences=(changed, *summary.differences[1:]))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, "Synthetic images raised balanced accuracy"),
        (-0.05, -0.01, "Synthetic images lowered balanced accuracy"),
        (-0.01, 0.05, "Not resolved: this study could see only differences of about 7.2 points."),
        (0.0, 0.05, "Not resolved: this study could see only differences of about 7.2 points."),
    ],
)
def test_the_answer_follows_the_interval_and_never_says_that_there_is_no_difference(make_run, low, high, expected):
    sentence = text.answer(_with_difference(summarise(make_run()), low, high))
    assert sentence.startswith(expected)
    assert "no clear difference" not in sentence
    assert f"{points((low + high) / 2)} points [{points(low)}, {points(high)}] (95 %)" in sentence


def test_the_same_predictions_are_not_resolved_either(make_run):
    summary = summarise(make_run())
    same = replace(summary.differences[0], mean=0.0, low=0.0, high=0.0, verdict="unclear", smallest=None)
    answer = text.answer(replace(summary, differences=(same,)))
    assert answer.startswith("Not resolved: the arms’ predictions are the same.")


def test_the_answer_names_both_arms_with_their_figures(make_run):
    summary = summarise(make_run())
    scores = summary.balanced_accuracy
    expected = f"synthetic {scores['synthetic'].mean:.3f} against oversampled {scores['oversampled'].mean:.3f}"
    assert expected in text.answer(summary)


def test_a_run_without_a_synthetic_arm_does_not_answer_for_it(make_run):
    answer = text.answer(summarise(make_run(arms=("real", "oversampled"))))
    assert answer.startswith("This run has no synthetic arm and does not say whether synthetic images help.")
    assert "oversampled" in answer


def test_a_single_arm_has_nothing_to_be_compared_with(make_run):
    summary = summarise(make_run(arms=("real",)))
    assert "nothing to compare" in text.answer(summary)
    assert summary.differences == ()


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("efficientnet_b0", "none", "efficientnet_b0, from scratch"),
        ("efficientnet_b0", "pretrained", "efficientnet_b0, initialised from timm’s pretrained weights"),
        ("tf_efficientnet_lite0", "lite0-package", "a stand-in for EfficientNet-B0"),
        ("efficientnet_b0", "mine.safetensors", "initialised from the weights in mine.safetensors"),
    ],
)
def test_what_the_classifier_began_with_is_named(make_run, model, weights, expected):
    summary = summarise(make_run())
    summary.config["classifier"] |= {"model": model, "weights": weights}
    assert expected in text.classifier(summary)


def test_without_an_oversampled_arm_re_balancing_is_named_as_a_cause(make_run):
    summary = summarise(make_run(arms=("real", "synthetic")))
    assert "re-balancing may be part of the effect" in text.caveat(summary)
    assert "re-balancing may be part" not in text.caveat(summarise(make_run(name="three")))


def test_the_caveat_names_classes_that_could_not_be_judged(make_run):
    assert "left out: df." in text.caveat(summarise(make_run(absent=("df",))))


def test_both_regimes_are_named(make_run):
    assert text.regime(summarise(make_run())).startswith("shots: only the generator is limited")
    assert text.regime(summarise(make_run(name="few", regime="limited"))).startswith("limited: of each rare class")


def test_external_images_answer_the_question_where_there_are_no_own(make_run):
    summary = summarise(make_run(arms=("real", "oversampled"), external={"theirs": None}))
    assert text.answer(summary).startswith("Not resolved: this study could see only")
    assert "content of the synthetic images" in text.question(summary, summary.differences[0])
    assert text.arm_note(summary, "theirs").endswith("made by another program, from /made/theirs")
    assert "re-balancing may be part" not in text.caveat(summary)
    alone = summarise(make_run(name="alone", arms=("real",), external={"theirs": None}))
    assert "re-balancing may be part" in text.caveat(alone)


def test_a_class_is_said_in_the_study_s_own_words(make_run):
    summary = summarise(make_run())
    assert text.class_name(summary, "mel") == "melanoma"
    summary.config["prompts"] = {"class_names": {"mel": "dark mole", "nv": "NV"}}
    assert [text.class_name(summary, label) for label in ("mel", "nv")] == ["dark mole", ""]


def test_until_the_generator_is_drawn_anew_nothing_says_that_more_seeds_would_do(make_run):
    one, two = (text.caveat(summarise(make_run(name=f"s{len(seeds)}", seeds=seeds))) for seeds in ((4,), (4, 5)))
    assert "1 classifier an arm" in one
    assert "another classifier seed or another draw of the generator would change is not in the interval." in one
    assert "2 classifiers an arm" in two
    assert "more classifier seeds do not put it there; further study seeds, generator seeds or folds do." in two


@pytest.mark.parametrize(
    ("arm", "counts", "expected"),
    [
        (ARMS["oversampled"], {"real": 8, "repeated": 3, "synthetic": 0}, ["real", "repeated"]),
        (ARMS["synthetic"], {"real": 8, "repeated": 0, "synthetic": 3}, ["real", "synthetic"]),
        (ARMS["autoencoded"], {"real": 8, "repeated": 2, "synthetic": 8}, ["real", "autoencoded", "repeated"]),
        (external_arm("theirs"), {"real": 8, "repeated": 0, "synthetic": 3}, ["real", "synthetic"]),
    ],
)
def test_training_images_are_named_by_what_the_arm_fills_up_with(arm, counts, expected):
    origins = text.origins(arm, counts)
    assert [origin for _, origin, _ in origins] == expected
    assert sum(n for _, _, n in origins) == sum(counts.values())


def test_seeds_are_named_with_what_each_determines(make_run):
    summary, made = summarise(make_run()), "the fine-tunes and the synthetic images"
    alone = f"Study seed 0 determines the split, the few-shot images, {made}; classifier seeds 0 and 1 "
    assert text.seeds(summary).startswith(alone)
    apart = text.seeds(replace(summary, study_seeds=(0, 1), generator_seeds=(5,)))
    assert apart.startswith(
        f"Study seeds 0 and 1 determine the split and the few-shot images, generator seed 5 {made}; "
    )


def test_what_differs_between_repeats_is_said(make_study):
    study = make_study(seeds=[(0, 5), (0, 6), (1, 5), (1, 6)])
    summary = pool(repeats_of(study), study)
    assert "Each study seed divides the images anew" in text.repeats(summary)
    assert "Each generator seed makes the fine-tunes" in text.repeats(summary)
    assert "fold" not in text.repeats(summary)
    one = replace(summary, study_seeds=(0,), repeats=summary.repeats[:2])
    assert "study seed" not in text.repeats(one)


def test_folds_test_each_image_once(make_run, tmp_path):
    runs = [make_run(name=f"study-{fold}", fold=(fold, 3)) for fold in range(3)]
    assert text.repeats(pool(runs, tmp_path)).startswith("Every image is tested once, in the fold whose classifiers")


def _with_recalls(summary, arm, *by_seed):
    """The summary with these recalls of an arm's classes, a row a seed."""
    scores = {
        label: replace(score, per_seed={str(seed): row[k] for seed, row in enumerate(by_seed)})
        for k, (label, score) in enumerate(summary.per_class_recall[arm].items())
    }
    return replace(summary, per_class_recall={**summary.per_class_recall, arm: scores})


@pytest.mark.parametrize("arm", ["synthetic", "oversampled"])
@pytest.mark.parametrize("classes", [(5, 5), (0, 6), (3, 0)])
def test_classifiers_that_name_every_image_alike_are_said_first(make_run, arm, classes):
    summary = _with_difference(summarise(make_run()), -0.2, -0.15)
    rows = [[float(k == named) for k in range(7)] for named in classes]
    answer = text.answer(_with_recalls(summary, arm, *rows))
    assert answer.startswith(f"No answer: the classifiers of {arm} name every test image alike. Balanced accuracy:")
    assert "lowered" not in answer
    rows[1][1] = 0.5
    assert text.answer(_with_recalls(summary, arm, *rows)).startswith("Synthetic images lowered")


@pytest.mark.parametrize(("low", "chance", "guesses"), [(0.14, 1 / 7, True), (0.3, 1 / 3, True), (0.16, 1 / 7, False)])
def test_an_arm_at_chance_is_said_first(make_run, low, chance, guesses):
    summary = _with_difference(summarise(make_run()), -0.2, -0.15)
    scores = {**summary.balanced_accuracy, "synthetic": replace(summary.balanced_accuracy["synthetic"], low=low)}
    answer = text.answer(replace(summary, balanced_accuracy=scores, chance=chance))
    assert answer.startswith("No answer: synthetic cannot be told from chance, which is ") == guesses
    assert answer.startswith("Synthetic images lowered") != guesses
