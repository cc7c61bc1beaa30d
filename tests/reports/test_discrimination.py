"""Figures of probabilities against scikit-learn's, averaged over seeds and repeats, with paired intervals."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from classify import calibration, discrimination
from classify.discrimination import Bootstrap
from classify.tested import Tested
from reports.discrimination import discrimination_of
from reports.summary import summarise

pytestmark = pytest.mark.numerical

CLASSES = ("benign", "malignant", "rare", "absent")  # a label may be called as one of our rows
FEW = Bootstrap(resamples=300)


def part(seed=0, n=160, seeds=2, prefix="g", **skill):
    """A test part of three classes of four, and the probabilities of arms of this skill."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, n, p=[0.6, 0.3, 0.1, 0.0])
    logits = {arm: rng.normal(size=(seeds, n, 4)) + strength * np.eye(4)[truth] for arm, strength in skill.items()}
    shares = {arm: np.exp(x) / np.exp(x).sum(axis=2, keepdims=True) for arm, x in logits.items()}
    groups = np.array([f"{prefix}{i // 2}" for i in range(n)])
    return Tested(truth=truth, groups=groups, probabilities=shares)


def found(*repeats, pairs=(), malignant=("malignant", "rare")):
    return discrimination_of(repeats, CLASSES, malignant, pairs, bootstrap=FEW)


def test_figures_are_scikit_learns_averaged_over_the_seeds():
    tested = part(real=1.5)
    arm, shares = found(tested).arms["real"], tested.probabilities["real"]
    rare = [roc_auc_score(tested.truth == 2, row[:, 2]) for row in shares]
    assert arm.by_class["rare"]["auroc"].mean == pytest.approx(np.mean(rare))
    sick = [average_precision_score(np.isin(tested.truth, (1, 2)), row[:, 1] + row[:, 2]) for row in shares]
    assert arm.malignant["average_precision"].mean == pytest.approx(np.mean(sick))
    whole = [brier_score_loss(tested.truth, row, labels=range(4), scale_by_half=False) for row in shares]
    assert arm.calibration["brier_score"].mean == pytest.approx(np.mean(whole))
    assert set(arm.macro) == set(discrimination.FIGURES)
    assert tuple(arm.calibration) == calibration.FIGURES


def test_the_macro_figure_leaves_out_a_class_without_test_images_which_is_undefined():
    arm = found(part(real=1.5)).arms["real"]
    assert {(value.mean, value.low, value.high) for value in arm.by_class["absent"].values()} == {(None, None, None)}
    there = [arm.by_class[label]["auroc"].mean for label in CLASSES[:3]]
    assert arm.macro["auroc"].mean == pytest.approx(np.mean(there))


def test_a_study_that_names_no_class_malignant_has_no_such_figures():
    assert found(part(real=1.5), malignant=()).arms["real"].malignant == {}
    alone = found(part(real=1.5), malignant=("absent",)).arms["real"].malignant
    assert alone["auroc"].mean is None


def test_intervals_hold_the_figure_and_a_better_arm_is_told_apart():
    result = found(part(real=1.0, synthetic=2.5), pairs=[("synthetic", "real"), ("real", "synthetic")])
    for arm in result.arms.values():
        for value in (*arm.macro.values(), *arm.malignant.values(), *arm.by_class["rare"].values()):
            assert value.low <= value.mean <= value.high
    gain, loss = result.differences
    assert (gain.first, gain.second) == ("synthetic", "real")
    one, other = (result.arms[arm].macro["auroc"].mean for arm in ("synthetic", "real"))
    assert gain.macro["auroc"].mean == pytest.approx(one - other)
    assert gain.macro["auroc"].low > 0 > loss.macro["auroc"].high
    assert gain.calibration["brier_score"].high < 0
    assert "300 draws of the 80 leakage groups of the test part; the classifiers’ seeds are averaged" in result.varied


def test_the_same_arm_twice_differs_by_nothing():
    tested = part(real=1.5)
    tested.probabilities["again"] = tested.probabilities["real"]
    (difference,) = found(tested, pairs=[("again", "real")]).differences
    for value in (*difference.macro.values(), *difference.malignant.values(), *difference.calibration.values()):
        assert (value.mean, value.low, value.high) == (0, 0, 0)


def test_groups_are_resampled_and_not_images():
    tested = part(real=1.0, n=60)
    wide = Tested(
        truth=np.tile(tested.truth, 9),
        groups=np.tile(tested.groups, 9),
        probabilities={"real": np.tile(tested.probabilities["real"], (1, 9, 1))},
    )
    one, nine = (found(each).arms["real"].macro["average_precision"] for each in (tested, wide))
    assert (nine.low, nine.high) == pytest.approx((one.low, one.high), abs=0.03)


def test_repeats_are_averaged_and_their_common_groups_drawn_together():
    one, other = part(0, real=1.0), part(1, real=2.0)
    apart = [found(each).arms["real"].macro["auroc"].mean for each in (one, other)]
    both = found(one, other)
    assert both.arms["real"].macro["auroc"].mean == pytest.approx(np.mean(apart))
    assert "80 leakage groups of the 2 repeats’ test parts" in both.varied
    elsewhere = part(1, prefix="other", real=2.0)
    assert "160 leakage groups" in found(one, elsewhere).varied
    twice = found(one, one).arms["real"].macro["auroc"]
    assert twice == found(one).arms["real"].macro["auroc"]  # a part that is counted twice makes nothing surer


def test_a_calibration_error_is_reflected_and_never_below_zero():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), size=200)
    truth = np.array([rng.choice(4, p=row) for row in shares])
    tested = Tested(truth=truth, groups=np.arange(200).astype(str), probabilities={"real": shares[None]})
    value = found(tested).arms["real"].calibration["expected_calibration_error"]
    assert 0 <= value.low < value.mean  # the classes are drawn from the probabilities: the true error is 0
    assert value.high - value.mean < value.mean - value.low + 0.05


def test_a_run_folder_is_summarised_with_what_its_config_calls_malignant(make_run):
    run = make_run(absent=("df",))
    text = json.loads((run / "run.json").read_text())
    assert summarise(run).discrimination.malignant == ()
    text["config"]["malignant"] = ["mel", "bcc"]
    (run / "run.json").write_text(json.dumps(text))
    result = summarise(run).discrimination
    assert result.malignant == ("mel", "bcc")
    assert result.arms["real"].malignant["auroc"].mean > 0.5
    assert result.arms["real"].by_class["df"]["auroc"].mean is None
    assert (result.differences[0].first, result.differences[0].second) == ("synthetic", "oversampled")
