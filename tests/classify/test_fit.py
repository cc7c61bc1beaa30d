import math

import numpy as np
import pytest
import torch

import classify.fit
from classify.fit import ClassifierConfig, Labelled, fit
from data.config import parse
from data.errors import ConfigError, TrainingError

SMALL = ClassifierConfig(
    model="test_efficientnet", steps=24, batch_size=8, validate_every=8, learning_rate=5e-3, average=0.5
)


def coloured(n, seed=0):
    """Two classes told apart by their colour."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    pixels = rng.integers(90, 130, (n, 32, 32, 3), dtype=np.uint8)
    pixels[classes == 1, ..., 0] += 100
    return Labelled(pixels=pixels, classes=classes)


TRAIN, VALIDATION = coloured(40), coloured(20, seed=1)


def same(first, second):
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def fitted():
    return fit(TRAIN, VALIDATION, 2, SMALL, seed=3)


def test_two_colours_are_learnt(fitted):
    assert max(row.balanced_accuracy for row in fitted.history) == 1.0
    assert [row.step for row in fitted.history] == [8, 16, 24]


def test_the_earliest_best_step_is_kept(monkeypatch):
    scores = iter([0.5, 0.8, 0.8])
    monkeypatch.setattr(classify.fit, "balanced_accuracy", lambda *_: next(scores))
    found = fit(TRAIN, VALIDATION, 2, SMALL, seed=3)
    assert found.best_step == 16
    scores = iter([0.5, 0.8, 0.9])
    assert not same(found, fit(TRAIN, VALIDATION, 2, SMALL, seed=3))


def test_the_same_seed_gives_the_same_bytes(fitted):
    again = fit(TRAIN, VALIDATION, 2, SMALL, seed=3)
    assert same(fitted, again)
    assert fitted.history == again.history
    assert not same(fitted, fit(TRAIN, VALIDATION, 2, SMALL, seed=4))


def test_a_run_that_was_cut_goes_on_to_the_same_bytes(fitted, tmp_path):
    def cut(step, steps, loss):
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(TRAIN, VALIDATION, 2, SMALL, seed=3, working=tmp_path, progress=cut)
    taken = []
    resumed = fit(TRAIN, VALIDATION, 2, SMALL, seed=3, working=tmp_path, progress=lambda step, *_: taken.append(step))
    assert taken == list(range(9, 25))
    assert same(fitted, resumed)
    assert fitted.history == resumed.history


def test_a_loss_that_is_no_number_ends_with_the_step_and_keeps_the_checkpoint(monkeypatch, tmp_path):
    true, calls = classify.fit.normalise, []

    def broken(pixels, network):
        calls.append(1)
        return true(pixels, network) * (math.nan if len(calls) == 10 else 1)

    monkeypatch.setattr(classify.fit, "normalise", broken)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 10 of 24; lower classifier.learning_rate"):
        fit(TRAIN, VALIDATION, 2, SMALL, seed=3, working=tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 8


def test_training_leaves_the_global_generator_and_threads_alone():
    torch.manual_seed(1)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(1)
    fit(
        TRAIN,
        VALIDATION,
        2,
        parse(ClassifierConfig, {"model": "test_efficientnet", "steps": 1, "threads": 1}, ""),
        seed=0,
    )
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_without_an_average_the_weights_themselves_are_judged():
    plain = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2, average=0)
    assert fit(TRAIN, VALIDATION, 2, plain, seed=0).best_step == 2


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        parse(ClassifierConfig, {"learningrate": 1}, "x.yaml")
