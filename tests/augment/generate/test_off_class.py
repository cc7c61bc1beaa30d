"""A classifier of photographs: out of fold, groups kept together, and a limit that nearly all of a class pass."""

import numpy as np
import pytest

from augment.generate.off_class import OutOfFold


@pytest.fixture
def clusters(rng):
    """Features of three classes that lie apart, labels, and a group for every two photographs."""
    labels = np.repeat(["df", "mel", "nv"], [16, 60, 90])
    centres = {"df": (4, 0), "mel": (0, 4), "nv": (0, 0)}
    features = np.array([centres[label] for label in labels]) + rng.normal(size=(166, 2))
    return features, labels, np.array([str(n // 2) for n in range(166)])


def test_an_image_amid_its_class_passes_and_one_amid_another_does_not(clusters):
    found = OutOfFold.fit(*clusters)
    own, of_another = found.predict(np.array([[4.0, 0.0], [0.0, 4.0]]))[:, found.classes.index("df")]
    assert own > found.limit("df") > of_another


def test_at_most_a_twentieth_of_a_class_or_none_of_few_lies_below_its_limit(clusters):
    found = OutOfFold.fit(*clusters)
    lost = {label: int((found.own(label) < found.limit(label)).sum()) for label in found.classes}
    assert lost["df"] == 0
    assert lost["mel"] <= 3
    assert 1 <= lost["nv"] <= 4


def test_probabilities_are_those_of_classifiers_that_have_not_seen_the_group(rng):
    labels, groups = np.repeat(["a", "b"], 40), np.repeat(np.arange(20).astype(str), 4)
    features = rng.normal(size=(20, 30)).repeat(4, axis=0)  # a group is known by its features, and its class by nothing
    found = OutOfFold.fit(features, labels, groups)
    own = (np.arange(80), (labels == "b").astype(int))
    assert found.probabilities[own].mean() < 0.6 < found.predict(features)[own].mean()


def test_a_class_of_few_photographs_or_one_that_is_not_found_has_no_limit(clusters, rng):
    features, labels, groups = clusters
    few = np.r_[0:8, 16:166]
    assert OutOfFold.fit(features[few], labels[few], groups[few]).limit("df") == 0
    features = features.copy()
    features[labels == "df"] = rng.permutation(features[labels != "df"])[:16]  # as the others look
    found = OutOfFold.fit(features, labels, groups)
    assert found.recalls()["df"] <= 1 / 3
    assert (found.limit("df"), found.limit("mel") > 0) == (0, True)


def test_every_row_sums_to_one_and_recalls_are_of_each_class(clusters):
    found = OutOfFold.fit(*clusters)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(found.predict(clusters[0]).sum(axis=1), 1)
    assert found.recalls().keys() == {"df", "mel", "nv"}
    assert min(found.recalls().values()) > 0.8


def test_a_class_of_one_group_or_a_single_class_cannot_be_told_apart(clusters):
    features, labels, groups = clusters
    assert OutOfFold.fit(features, labels, np.where(labels == "df", "one", groups)) is None
    assert OutOfFold.fit(features, np.full_like(labels, "nv"), groups) is None
