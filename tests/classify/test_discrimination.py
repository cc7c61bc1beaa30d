"""Figures of discrimination by hand, against scikit-learn and against isic-challenge-scoring 5.6.0.

`isic_challenge/predictions.json` is what that program printed; test_isic_challenge.py has the command.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from classify.discrimination import (
    FIGURES,
    SPECIFICITIES,
    Bootstrap,
    figures,
    group_draws,
    macro,
    resampled_figures,
)
from classify.predict import ISIC_COLUMNS, Predictions
from data.sources.tables import Columns, read_rows

pytestmark = pytest.mark.numerical

ISIC = Path(__file__).parent / "isic_challenge"


def drawn(seed=0, n=60, share=0.3, ties=False):
    """Positives, scores and groups of a few images; scores of one decimal, where ties are wanted."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    score = rng.normal(size=n) + 1.2 * positive
    return positive, np.round(score, 0 if ties else 12), rng.integers(0, n // 2, n)


def reference(positive, score, weights):
    """scikit-learn's figures of weighted images; those without weight are left out."""
    kept = weights > 0
    positive, score, weights = positive[kept], score[kept], weights[kept]
    false_positives, sensitivities, _ = roc_curve(positive, score, sample_weight=weights, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(positive, score, sample_weight=weights),
        "average_precision": average_precision_score(positive, score, sample_weight=weights),
        **{name: sensitivities[false_positives <= 1.000001 - s].max() for name, s in SPECIFICITIES.items()},
    }


def test_figures_of_six_images_are_those_by_hand():
    positive = np.array([True, False, True, False, False, False])
    found = figures(positive, np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.2]))
    assert found["auroc"] == pytest.approx(7 / 8)  # of the eight pairs one is in the wrong order
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["sensitivity_at_80"] == found["sensitivity_at_90"] == 0.5  # one false alarm of four is too many
    assert found["auc_above_80"] == pytest.approx(3 / 4)


def test_a_specificity_that_is_just_reached_counts():
    positive = np.array([True, False, True, *[False] * 4])
    found = figures(positive, -np.arange(7.0))
    assert (found["sensitivity_at_80"], found["sensitivity_at_90"]) == (1.0, 0.5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_resampled_figures_are_scikit_learns_with_the_draws_as_weights(seed, ties):
    positive, score, group = drawn(seed, ties=ties)
    draws = group_draws(int(group.max()) + 1, Bootstrap(resamples=25, seed=seed))
    found = resampled_figures(positive, score, group, draws)
    for row, counts in enumerate(draws):
        for name, value in reference(positive, score, counts[group]).items():
            assert found[name][row] == pytest.approx(value, abs=2e-6), name


@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_of_every_group_once_gives_the_figures_themselves(ties):
    positive, score, group = drawn(3, ties=ties)
    found = resampled_figures(positive, score, group, np.ones((1, group.max() + 1), np.float32))
    names = set(FIGURES) - ({"auc_above_80"} if ties else set())  # where a tie straddles 80 %, it is interpolated
    assert {name: found[name][0] for name in names} == pytest.approx({n: figures(positive, score)[n] for n in names})


def test_resampled_figures_are_the_same_however_many_draws_are_held_at_once(monkeypatch):
    positive, score, group = drawn(5)
    draws = group_draws(int(group.max()) + 1, Bootstrap(resamples=40))
    whole = resampled_figures(positive, score, group, draws)
    monkeypatch.setattr("classify.discrimination._CHUNK", 1)
    for name, values in resampled_figures(positive, score, group, draws).items():
        np.testing.assert_allclose(values, whole[name], atol=1e-6)


@pytest.mark.parametrize("positive", [[False] * 4, [True] * 4])
def test_without_images_of_the_class_or_of_another_nothing_is_defined(positive):
    positive, group = np.array(positive), np.arange(4)
    assert np.isnan(list(figures(positive, np.arange(4.0)).values())).all()
    found = resampled_figures(positive, np.arange(4.0), group, group_draws(4, Bootstrap(resamples=3)))
    assert np.isnan(list(found.values())).all()


def test_a_resample_without_the_class_is_undefined_and_others_are_not():
    positive, group = np.array([True, False, False]), np.array([0, 1, 2])
    draws = np.array([[0, 2, 1], [2, 1, 0], [3, 0, 0]], np.float32)
    found = resampled_figures(positive, np.array([0.9, 0.5, 0.1]), group, draws)
    for name in FIGURES:
        assert np.isnan(found[name]).tolist() == [True, False, True], name
    assert found["auroc"][1] == 1.0


def test_the_macro_mean_is_over_the_classes_that_are_defined():
    drawn = ([0.5, np.nan, np.nan], [0.7, 0.9, np.nan])
    by_class = [{name: np.array(values) for name in FIGURES} for values in drawn]
    np.testing.assert_allclose(macro(by_class)["auroc"], [0.6, 0.9, np.nan])
    alone = macro([dict.fromkeys(FIGURES, 0.5), dict.fromkeys(FIGURES, np.nan)])
    assert float(alone["average_precision"]) == 0.5


def test_scores_that_say_nothing_have_the_auroc_of_chance_and_the_precision_of_the_share():
    positive, _, _ = drawn(n=4000, share=0.2)
    found = figures(positive, np.random.default_rng(9).normal(size=4000))
    assert found["auroc"] == pytest.approx(0.5, abs=0.03)
    assert found["average_precision"] == pytest.approx(0.2, abs=0.03)
    assert found["sensitivity_at_90"] == pytest.approx(0.1, abs=0.03)


def test_every_class_and_the_macro_mean_are_the_challenge_s():
    theirs = json.loads((ISIC / "predictions.json").read_text(encoding="utf-8"))
    rows = read_rows(ISIC / "truth.csv", [], Columns(image="image", one_hot=ISIC_COLUMNS))
    labels = dict(zip(rows["image_id"], rows["label"].str.lower(), strict=True))
    given = Predictions.read(ISIC / "predictions.csv")
    truth = np.array([labels[image] for image in given.image_ids])
    found = {label: figures(truth == label, given.probabilities[:, k]) for k, label in enumerate(given.classes)}
    for ours, name in (("auroc", "auc"), ("average_precision", "ap"), ("auc_above_80", "auc_sens_80")):
        for label, values in found.items():
            assert values[ours] == pytest.approx(theirs["per_category"][name][label.upper()], abs=1e-12), (name, label)
        assert float(macro(list(found.values()))[ours]) == pytest.approx(theirs["macro_average"][name], abs=1e-12)
