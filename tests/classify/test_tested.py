"""What repeats have in common: groups and draws by name, and classifiers that are the same in all of them."""

import numpy as np
import pytest

from classify.tested import BALANCED, FIRST_RECALL, Layout, Tested, arm_figures


def part(seed, *, name="a", draw="", folds=None, same=False):
    rng = np.random.default_rng(seed)
    truth = np.arange(60) % 3
    groups = np.array([f"g{i // 2}" for i in range(60)])
    arms = {
        "generated": np.where(rng.random((2, 60)) < 0.6, truth, 0),
        "real": np.where(np.random.default_rng(0 if same else seed + 50).random((2, 60)) < 0.6, truth, 0),
    }
    whole = Tested.of_classes(truth, groups, arms, 3)
    return Tested(truth=truth, groups=groups, probabilities=whole.probabilities, name=name, draw=draw, folds=folds)


def test_influences_sum_to_zero_and_the_clusters_parts_to_the_mean():
    repeats = (part(0, draw="0"), part(1, draw="1"))
    layout = Layout.of(repeats, 3)
    found = arm_figures(repeats, "real", layout)
    assert found.influences.sum(axis=-1) == pytest.approx(0, abs=1e-12)
    assert found.by_cluster.sum(axis=0) == pytest.approx(found.means)
    assert layout.holders.tolist() == [30, 30, 20, 20, 20]
    assert found.of_classes.sum(axis=0) == pytest.approx(found.influences[BALANCED].mean(axis=(0, 1)))


def test_an_influence_is_the_change_of_the_figure_when_a_group_is_weighted_a_little_more():
    one = part(3)
    found = arm_figures((one,), "real", Layout.of((one,), 3))
    group = np.unique(one.groups, return_inverse=True)[1]
    weight = np.where(group == 7, 1 + 1e-6, 1.0)
    hit = one.predicted("real")[0] == one.truth
    recalls = [np.average(hit[one.truth == k], weights=weight[one.truth == k]) for k in range(3)]
    change = (np.mean(recalls) - found.values[0, 0, BALANCED]) / 1e-6
    assert found.influences[BALANCED, 0, 0, 7] == pytest.approx(change * (20 / 19) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("repeats", "draws", "clusters"),
    [
        ((part(0),), "one", 1),
        ((part(0), part(1)), "generators", 2),
        ((part(0, draw="0"), part(1, draw="1"), part(2, draw="1")), "studies", 2),
        ((part(0, folds=np.arange(60) // 20),), "folds", 3),
        ((part(0, draw="0", folds=np.arange(60) // 20), part(1, draw="1", folds=np.arange(60) // 20)), "studies", 6),
    ],
)
def test_draws_are_study_seeds_with_their_folds_or_else_generator_seeds(repeats, draws, clusters):
    layout = Layout.of(repeats, 3)
    assert (layout.draws, layout.n_clusters) == (draws, clusters)
    found = arm_figures(repeats, "generated", layout)
    assert found.by_cluster.sum(axis=0) == pytest.approx(found.means)


def test_an_arm_whose_classifiers_are_the_same_in_all_repeats_is_one_draw():
    repeats = (part(0, same=True), part(1, same=True))
    layout = Layout.of(repeats, 3)
    assert arm_figures(repeats, "real", layout).is_one_draw
    assert not arm_figures(repeats, "generated", layout).is_one_draw


def test_a_class_that_one_repeat_lacks_is_averaged_over_those_that_have_it():
    one = part(0)
    fewer = one.truth < 2
    other = Tested(
        truth=one.truth[fewer],
        groups=one.groups[fewer],
        probabilities={arm: each[:, fewer] for arm, each in one.probabilities.items()},
    )
    found = arm_figures((one, other), "real", Layout.of((one, other), 3))
    assert found.means[FIRST_RECALL + 2] == pytest.approx(found.values[0, :, FIRST_RECALL + 2].mean())
