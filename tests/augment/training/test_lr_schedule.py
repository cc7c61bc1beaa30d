"""Warm-up and cosine decay of the learning rate."""

import pytest

from augment.training.lr_schedule import warm_cosine


def test_it_rises_to_one_and_falls_to_the_floor():
    factor = warm_cosine(100, warmup=10, floor=0.1)
    values = [factor(step) for step in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == values[10] == pytest.approx(1.0)
    assert values[100] == pytest.approx(0.1)
    assert values[10:] == sorted(values[10:], reverse=True)
