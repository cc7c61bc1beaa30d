import dataclasses
import math

import numpy as np
import pytest
import torch

import classify.augmented_batches
import classify.fit
from classify.config import ClassifierConfig
from classify.fit import Labelled, Run, fit
from classify.mix import CODED, PHOTOGRAPH
from classify.mixup import Mixed
from classify.targets import SoftLabels, Targets
from data.config import parse
from data.errors import ConfigError, TrainingError

SMALL = ClassifierConfig(
    model="test_efficientnet", steps=24, batch_size=8, validate_every=8, learning_rate=5e-3, ema_decay=0.5
)


def coloured(n, seed=0):
    """Two classes seen apart by their colour."""
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


def test_soft_labels_that_are_wholly_the_other_class_s_are_learnt_as_it(fitted):
    other = SoftLabels(classes=1 - TRAIN.classes, shares=np.ones(len(TRAIN.classes)))
    found = fit(dataclasses.replace(TRAIN, soft=other), VALIDATION, 2, SMALL, seed=3)
    assert min(row.balanced_accuracy for row in found.history) == 0.0
    none = SoftLabels(classes=1 - TRAIN.classes, shares=np.zeros(len(TRAIN.classes)))
    assert same(fitted, fit(dataclasses.replace(TRAIN, soft=none), VALIDATION, 2, SMALL, seed=3))


def test_the_earliest_best_step_is_kept_where_the_validation_part_chooses(monkeypatch):
    best = dataclasses.replace(SMALL, checkpoint="best")
    scores = iter([0.5, 0.8, 0.8])
    monkeypatch.setattr(classify.fit, "balanced_accuracy", lambda *_: next(scores))
    found = fit(TRAIN, VALIDATION, 2, best, seed=3)
    assert found.best_step == 16
    scores = iter([0.5, 0.8, 0.9])
    assert not same(found, fit(TRAIN, VALIDATION, 2, best, seed=3))


def test_the_last_step_is_kept_else_whatever_its_score(fitted, monkeypatch):
    scores = iter([0.5, 0.8, 0.2])
    monkeypatch.setattr(classify.fit, "balanced_accuracy", lambda *_: next(scores))
    found = fit(TRAIN, VALIDATION, 2, SMALL, seed=3)
    assert found.best_step == 24
    assert same(found, fitted)  # the validation part has no say


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
    true = classify.augmented_batches.normalise

    def broken(pixels, network):
        calls.append(1)
        return true(pixels, network) * (math.nan if len(calls) == 10 else 1)

    monkeypatch.setattr(classify.augmented_batches, "normalise", broken)
    for late in (0, 2):  # as on a processor, and as on a GPU
        calls, out = [], tmp_path / str(late)
        out.mkdir()
        monkeypatch.setattr(classify.fit, "steps_behind", lambda on, late=late: late)
        with pytest.raises(TrainingError, match=r"the loss is nan at step 10 of 24; lower classifier.learning_rate"):
            fit(TRAIN, VALIDATION, 2, dataclasses.replace(SMALL, augment_device="cpu"), seed=3, working=out)
        assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 8


def test_losses_that_are_read_late_change_nothing(fitted, monkeypatch):
    monkeypatch.setattr(classify.fit, "steps_behind", lambda on: 2)
    seen = []
    late = fit(TRAIN, VALIDATION, 2, SMALL, seed=3, progress=lambda step, *_: seen.append(step))
    assert seen == list(range(1, 25))
    assert same(fitted, late)
    assert fitted.history == late.history


@pytest.mark.slow
def test_the_next_seeds_network_finds_what_was_compiled_for_this_one(monkeypatch):
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(classify.fit, "compiles", lambda on, steps: True)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, **how, backend="eager"))
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    counters.clear()
    short = dataclasses.replace(SMALL, steps=2, validate_every=2, augment_device="cpu")
    graphs = []
    for seed in (3, 4):
        fit(TRAIN, VALIDATION, 2, short, seed=seed)
        graphs.append(counters["unique_graphs"])
    assert graphs == [1, 1]


def test_augmentation_on_the_device_trains_as_well_and_repeats():
    config = dataclasses.replace(SMALL, augment_device="device", steps=40)
    first, second = (fit(TRAIN, VALIDATION, 2, config, seed=3) for _ in range(2))
    assert same(first, second)
    assert max(row.balanced_accuracy for row in first.history) == 1.0


def test_mixed_batches_train_and_go_on_to_the_same_bytes_after_a_cut(fitted, tmp_path):
    mixing = dataclasses.replace(SMALL, mixup=0.2, cutmix=1.0)
    whole = fit(TRAIN, VALIDATION, 2, mixing, seed=3)
    assert not same(whole, fitted)

    def cut(step, steps, loss):
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(TRAIN, VALIDATION, 2, mixing, seed=3, working=tmp_path, progress=cut)
    assert same(whole, fit(TRAIN, VALIDATION, 2, mixing, seed=3, working=tmp_path))


def test_a_mixed_image_has_the_losses_of_both_of_its_classes_by_their_shares():
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes, weights = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1]), torch.arange(1.0, 9.0) / 8

    def loss(share, *targets):
        torch.manual_seed(0)  # of dropout
        return float(Run(2, SMALL, 3).update(Mixed(images=images, share=share), Targets(*targets)))

    own, others = loss(1.0, classes, weights), loss(1.0, classes.flip(0), weights.flip(0))
    assert own != pytest.approx(others, rel=0.01)
    assert loss(0.3, classes, weights) == pytest.approx(0.3 * own + 0.7 * others, rel=1e-5)


def test_images_of_no_chance_are_never_shown():
    kinds = np.where(np.arange(40) < 20, PHOTOGRAPH, CODED)
    misleading = TRAIN.pixels.copy()
    misleading[20:] = 255
    labelled = Labelled(pixels=misleading, classes=TRAIN.classes, kinds=kinds)
    alone = Labelled(pixels=TRAIN.pixels[:20], classes=TRAIN.classes[:20])
    short = dataclasses.replace(SMALL, steps=8)
    assert same(fit(labelled, VALIDATION, 2, short, seed=3), fit(alone, VALIDATION, 2, short, seed=3))
    assert not same(
        fit(labelled, VALIDATION, 2, short, seed=3, coding="mixed"), fit(alone, VALIDATION, 2, short, seed=3)
    )


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


def test_without_an_average_the_weights_themselves_are_evaluated():
    plain = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2, ema_decay=0)
    assert fit(TRAIN, VALIDATION, 2, plain, seed=0).best_step == 2


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        parse(ClassifierConfig, {"learningrate": 1}, "x.yaml")
