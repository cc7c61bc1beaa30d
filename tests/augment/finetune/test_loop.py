"""Classes in one batch learn what each learns alone, in today's way and in peft's."""

import dataclasses

import pytest
import torch

from augment import device
from augment.diffusion.sample import SamplerConfig
from augment.finetune import loop as together
from augment.finetune.config import FinetuneConfig
from augment.finetune.examples import Lesson
from augment.finetune.loop import class_losses, train
from augment.finetune.trainer import Training
from augment.methods import trained
from augment.methods.batched_lora import Stack
from augment.methods.lora import Lora
from data.errors import TrainingError

pytestmark = pytest.mark.numerical

CONFIG = FinetuneConfig(
    steps=5, batch_size=4, rank=2, learning_rate=1e-3, warmup=1, preview_every=0, clip=0.1, prompt_dropout=0.3
)
LABELS = ("akiec", "df", "vasc")


def lesson(label):
    number = LABELS.index(label)
    means = torch.randn(3, 8, 8, 4, 4, generator=torch.Generator().manual_seed(number))
    prompts = (f"dermoscopy of a {label}", "dermoscopy of a skin lesion", "")
    return Lesson(label, number, prompts, means, torch.full_like(means, 0.1), torch.empty(0, 8, 4, 4))


@pytest.fixture(scope="module")
def stack(pipe):
    return Stack(pipe, Lora(rank=CONFIG.rank))


def opened(pipe, folder, stack=None, labels=LABELS, config=CONFIG):
    return [Training(pipe, lesson(label), config, folder / label, "k", stack) for label in labels]


def learn(trainings, **options):
    ended = []
    train(trainings, ended.append, **options)
    return ended


def losses_of(group):
    return class_losses(group, [training.batch() for training in group])


def vector(training):
    return torch.cat([parameter.detach().flatten() for parameter in training.parameters.values()])


def gradient(training):
    return torch.cat([parameter.grad.flatten() for parameter in training.parameters.values()])


def same(found, expected):
    for own, other in zip(found, expected, strict=True):
        assert own.losses == pytest.approx(other.losses, rel=1e-5)
        torch.testing.assert_close(vector(own), vector(other), atol=1e-6, rtol=0)


def nearly_same(found, expected):
    """Adam moves by the rate whatever the gradient, so where that is rounding alone the way is too."""
    for own, other in zip(found, expected, strict=True):
        assert own.losses == pytest.approx(other.losses, rel=1e-5)
        apart = (vector(own) - vector(other)).abs()
        assert (apart > 1e-6).float().mean() < 0.01
        assert apart.max() < 0.2 * CONFIG.rate


def test_five_steps_of_all_classes_in_one_batch_are_five_steps_of_each_alone(pipe, stack, tmp_path):
    whole = opened(pipe, tmp_path / "whole", stack)
    learn(whole)
    alone = opened(pipe, tmp_path / "alone", stack)
    for one in alone:
        learn([one])
    same(whole, alone)
    assert not torch.allclose(vector(whole[0]), vector(whole[1]), atol=1e-3)


def test_a_class_learns_what_peft_teaches_it(pipe, stack, tmp_path):
    peft = opened(pipe, tmp_path / "peft")
    whole = opened(pipe, tmp_path / "whole", stack)
    torch.autograd.backward(losses_of(whole).sum())
    for one in peft:
        torch.autograd.backward(losses_of([one]).sum())
    for own, other in zip(whole, peft, strict=True):
        assert torch.equal(vector(own), vector(other))
        torch.testing.assert_close(gradient(own), gradient(other), atol=2e-5, rtol=0)
        assert gradient(own).norm() > CONFIG.clip  # so that clipping is tested below
        own.forget()
        other.forget()
    for one in peft:
        learn([one])
    learn(whole)
    nearly_same(whole, peft)
    assert trained(peft[0].pipe)


def test_a_class_that_is_further_on_ends_first_and_in_the_same_result(pipe, stack, tmp_path):
    expected = opened(pipe, tmp_path / "expected", stack)
    learn(expected)
    ahead, *others = opened(pipe, tmp_path / "parts", stack)
    ended = []
    for _ in range(3):
        together.step([ahead])
    train([ahead, *others], ended.append)
    assert ended == [ahead, *others]
    same([ahead, *others], expected)


def test_a_class_that_is_not_a_number_leaves_the_others_alone(pipe, stack, tmp_path):
    expected = opened(pipe, tmp_path / "expected", stack)
    learn(expected)
    trainings = opened(pipe, tmp_path / "spoilt", stack)
    together.step(trainings)
    trainings[1].parameters["factors"].data[-1] = torch.nan
    ended = []
    with pytest.raises(TrainingError, match=r"^df: the loss is not a number at step 2 of 5"):
        train(trainings, ended.append)
    assert ended == [trainings[0], trainings[2]]
    same(ended, [expected[0], expected[2]])
    assert len(trainings[1].losses) == 1


@pytest.mark.parametrize("at_once", [1, 2])
def test_fewer_classes_at_once_end_in_the_same_result(pipe, stack, tmp_path, at_once):
    expected = opened(pipe, tmp_path / "expected", stack)
    learn(expected)
    few = opened(pipe, tmp_path / "few", stack)
    assert learn(few, at_once=at_once) == few
    same(few, expected)


def test_where_memory_ends_half_as_many_are_tried(pipe, stack, tmp_path, monkeypatch, caplog):
    expected = opened(pipe, tmp_path / "expected", stack)
    learn(expected)
    real = together.class_losses

    def little(group, batches):
        if len(group) > 1:
            raise torch.OutOfMemoryError
        return real(group, batches)

    monkeypatch.setattr(together, "class_losses", little)
    few = opened(pipe, tmp_path / "few", stack)
    assert learn(few) == few
    same(few, expected)
    assert "3 classes in one batch do not fit into memory; trying 1" in caplog.text
    monkeypatch.setattr(together, "class_losses", lambda _group, batches: little([1, 2], batches))
    with pytest.raises(torch.OutOfMemoryError):
        learn(opened(pipe, tmp_path / "none", stack, ("df",)))


def test_a_first_step_of_the_optimiser_that_does_not_fit_is_made_again_and_nobody_elses_is(
    pipe, stack, tmp_path, monkeypatch, caplog
):
    expected = opened(pipe, tmp_path / "expected", stack)
    learn(expected)
    few = opened(pipe, tmp_path / "few", stack)
    real, refused = torch.zeros_like, []

    def zeros_like(tensor, *given, **options):
        """AdamW makes its moments by this, after it has counted the step."""
        if tensor is few[1].parameters["factors"] and not refused:
            refused.append(tensor)
            raise torch.OutOfMemoryError
        return real(tensor, *given, **options)

    monkeypatch.setattr(torch, "zeros_like", zeros_like)
    told = []
    assert learn(few, progress=lambda *said: told.append(said[:2])) == few
    assert len(refused) == 1
    same(few, expected)
    assert sorted(told) == [(label, step) for label in LABELS for step in range(1, 6)]
    assert "3 classes in one batch do not fit into memory; trying 1" in caplog.text


def test_what_does_not_fit_after_a_step_is_not_laid_to_the_number_of_classes(pipe, stack, tmp_path, monkeypatch):
    def keep(_training):
        raise torch.OutOfMemoryError("something else")

    monkeypatch.setattr(Training, "keep", keep)
    trainings = opened(pipe, tmp_path, stack)
    with pytest.raises(torch.OutOfMemoryError, match="something else"):
        learn(trainings)
    assert [len(training.losses) for training in trainings] == [1, 1, 1]


def test_every_class_tells_its_progress_and_its_seconds(pipe, stack, tmp_path):
    told = []
    trainings = opened(pipe, tmp_path, stack)
    learn(trainings, progress=lambda *said: told.append(said[:3]))
    assert told[:3] == [(label, 1, 5) for label in LABELS]
    assert told[-1] == ("vasc", 5, 5)
    assert all(training.seconds > 0 for training in trainings)


SMALL = {
    "in parts": {"accumulate": 2},
    "activations computed twice": {"gradient_checkpointing": True},
    "the rest elsewhere": {"offload": True, "preview_every": 2, "preview": SamplerConfig(steps=1, batch_size=2)},
}


@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL)
def test_what_spares_memory_changes_nothing(pipe, tmp_path, setting):
    expected = opened(pipe, tmp_path / "expected", Stack(pipe, Lora(rank=CONFIG.rank)))
    learn(expected)
    config = dataclasses.replace(CONFIG, **setting)
    found = opened(pipe, tmp_path / "found", Stack(pipe, Lora(rank=CONFIG.rank)), config=config)
    learn(found)
    nearly_same(found, expected)


def test_activations_are_computed_twice_only_if_asked_for(pipe, tmp_path):
    for asked in (False, True):
        stack = Stack(pipe, Lora(rank=CONFIG.rank))
        opened(pipe, tmp_path, stack, ("df",), dataclasses.replace(CONFIG, gradient_checkpointing=asked))
        assert stack.pipe.unet.is_gradient_checkpointing is asked


def test_a_compiled_denoiser_learns_the_same(pipe, tmp_path, monkeypatch):
    expected = opened(pipe, tmp_path / "expected", Stack(pipe, Lora(rank=CONFIG.rank)))
    learn(expected)
    calls = []

    def compiling(module, **options):
        calls.append(options)
        return real(module, backend="aot_eager", **options)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compiling)
    monkeypatch.setattr(device, "compiles", lambda _where: True)
    found = opened(pipe, tmp_path / "found", Stack(pipe, Lora(rank=CONFIG.rank)))
    learn(found)
    assert calls == [{"dynamic": False}]
    nearly_same(found, expected)
