import numpy as np
import pytest

from classify.significance import holm, mcnemar


def test_mcnemar_counts_what_one_arm_alone_finds_and_is_exact():
    truth = np.zeros(20, dtype=int)
    first, second = np.ones(20, dtype=int), np.ones(20, dtype=int)
    first[:8], second[7:9] = 0, 0
    found = mcnemar(truth, first, second)
    assert (found.first_alone, found.second_alone) == (7, 1)
    assert found.p_value == pytest.approx(2 * (1 + 8) / 2**8)


def test_the_same_predictions_do_not_differ():
    truth = np.arange(5)
    assert mcnemar(truth, truth, truth).p_value == 1


def test_holms_adjusted_values_are_those_of_his_rule_and_keep_the_order_given():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()
