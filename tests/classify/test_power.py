"""What can be seen is known before a study from its test part."""

import pytest

from classify.power import Support, in_words, lesions_needed, seeds_needed, smallest_effect

HAM10000_TEST = Support(images=(99, 156, 330, 34, 334, 2010, 43), groups=(69, 97, 219, 22, 184, 1617, 30))
HAM10000 = Support(images=(327, 514, 1099, 115, 1113, 6705, 142), groups=(228, 327, 727, 73, 614, 5403, 98))


@pytest.mark.parametrize(
    ("support", "seeds", "folds", "points"),
    [(HAM10000_TEST, 3, 1, 6.2), (HAM10000_TEST, 20, 1, 4.0), (HAM10000, 3, 5, 3.2), (HAM10000, 5, 5, 2.8)],
)
def test_it_agrees_with_what_finished_studies_of_ham10000_could_see(support, seeds, folds, points):
    assert 100 * smallest_effect(support, seeds, folds=folds) == pytest.approx(points, rel=0.2)


def test_more_lesions_and_more_seeds_see_smaller_effects():
    seen = smallest_effect(HAM10000_TEST, 3)
    assert smallest_effect(HAM10000_TEST, 5) < seen
    assert smallest_effect(HAM10000_TEST.times(2), 3) < seen
    several = Support(images=HAM10000_TEST.images, groups=tuple(n // 3 + 1 for n in HAM10000_TEST.images))
    assert smallest_effect(several, 3) > seen


def test_what_is_needed_sees_the_target_and_no_less_does():
    seeds = seeds_needed(HAM10000, folds=5)
    assert smallest_effect(HAM10000, seeds, folds=5) <= 0.03 < smallest_effect(HAM10000, seeds - 1, folds=5)
    assert seeds_needed(HAM10000_TEST) is None
    factor = lesions_needed(HAM10000_TEST, 10)
    assert smallest_effect(HAM10000_TEST.times(factor), 10) <= 0.03


def test_it_is_said_in_one_line_with_what_would_be_needed():
    text = in_words(HAM10000_TEST, HAM10000, 3)
    assert text.startswith("This study can resolve differences of about 6.0 points (80 % power); to resolve 3 points")
    assert "5 folds with 3 seeds (split.n_splits=5)" in text
    assert in_words(HAM10000, HAM10000, 5, folds=5).endswith("points (80 % power).")
    few = Support(images=(10, 10), groups=(1, 1))
    assert "more than 20 seeds and 10 times as many test lesions" in in_words(few, few, 2)
