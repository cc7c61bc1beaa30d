"""Classes in one batch learn what each learns alone, through our layers and through peft's."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from augment import device
from augment.context import Context
from augment.diffusion.sample import SamplerConfig
from augment.finetune import loop
from augment.finetune import trainer as trainer_module
from augment.finetune.examples import ClassExamples
from augment.finetune.loop import class_losses, train
from augment.finetune.select import Selection, StepChoice
from augment.finetune.trainer import ClassTrainer
from augment.methods.lora import LoraConfig, PeftLora
from augment.methods.record import AdapterRecord
from augment.prompts import PromptConfig
from data.errors import TrainingError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.splits.provenance import Provenance

CONFIG = LoraConfig(
    steps=5,
    batch_size=4,
    rank=2,
    learning_rate=1e-3,
    lr_warmup_steps=1,
    preview_every=0,
    max_grad_norm=0.1,
    caption_dropout=0.3,
)
LABELS = ("akiec", "df", "vasc")
CONTEXT = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=0)
SELECTION = Selection(
    features=lambda images: images,
    features_name="drawn",
    features_identity="",
    held_out={"df": Manifest(pd.DataFrame(columns=COLUMNS, dtype=str), {})},
    origin="other lesions",
)


def examples(label):
    number = LABELS.index(label)
    means = torch.randn(3, 8, 8, 4, 4, generator=torch.Generator().manual_seed(number))
    prompts = (f"dermoscopy of a {label}", "dermoscopy of a skin lesion", "")
    return ClassExamples(label, number, prompts, means, torch.full_like(means, 0.1), torch.empty(0, 8, 4, 4))


@pytest.fixture(scope="module")
def trainable(pipe):
    return CONFIG.trainable(pipe, pipe.device)


@pytest.fixture(scope="module")
def peft(pipe):
    return PeftLora(pipe, CONFIG.targets, CONFIG.rank, pipe.device)


def opened(pipe, folder, trainable, labels=LABELS, config=CONFIG):
    return [ClassTrainer(pipe, trainable, examples(label), config, folder / label, "k") for label in labels]


def learn(trainers, **options):
    return list(train(trainers, **options))


def losses_of(group):
    return class_losses(group, [trainer.batch() for trainer in group])


def vector(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.parameters.values()])


def gradient(trainer):
    return torch.cat([parameter.grad.flatten() for parameter in trainer.parameters.values()])


def same(found, expected):
    for own, other in zip(found, expected, strict=True):
        assert own.losses == pytest.approx(other.losses, rel=1e-5)
        torch.testing.assert_close(vector(own), vector(other), atol=1e-6, rtol=0)


def nearly_same(found, expected):
    """Adam steps by the learning rate however small the gradient: where that is rounding, the step is too."""
    for own, other in zip(found, expected, strict=True):
        assert own.losses == pytest.approx(other.losses, rel=1e-5)
        apart = (vector(own) - vector(other)).abs()
        assert (apart > 1e-6).float().mean() < 0.01
        assert apart.max() < 0.2 * CONFIG.learning_rate


def test_five_steps_of_all_classes_in_one_batch_are_five_steps_of_each_alone(pipe, trainable, tmp_path):
    whole = opened(pipe, tmp_path / "whole", trainable)
    learn(whole)
    alone = opened(pipe, tmp_path / "alone", trainable)
    for one in alone:
        learn([one])
    same(whole, alone)
    assert not torch.allclose(vector(whole[0]), vector(whole[1]), atol=1e-3)


def test_classes_whose_prompts_have_more_chunks_train_in_a_batch_of_their_own(pipe, trainable, tmp_path, monkeypatch):
    def trainers(folder):
        own = opened(pipe, folder, trainable)
        long = dataclasses.replace(own[1].examples, prompts=("skin " * 20, "dermoscopy of a skin lesion", ""))
        return [own[0], ClassTrainer(pipe, trainable, long, CONFIG, folder / "long", "k"), own[2]]

    groups, real = [], loop.step
    monkeypatch.setattr(loop, "step", lambda group: groups.append([each.n_chunks for each in group]) or real(group))
    whole = trainers(tmp_path / "whole")
    learn(whole)
    assert groups == [[1, 1]] * 5 + [[2]] * 5
    alone = trainers(tmp_path / "alone")
    for one in alone:
        learn([one])
    same(whole, alone)


def test_a_class_learns_what_peft_teaches_it(pipe, trainable, peft, tmp_path):
    alone = opened(pipe, tmp_path / "peft", peft)
    whole = opened(pipe, tmp_path / "whole", trainable)
    torch.autograd.backward(losses_of(whole).sum())
    for one in alone:
        torch.autograd.backward(losses_of([one]).sum())
    for own, other in zip(whole, alone, strict=True):
        assert torch.equal(vector(own), vector(other))
        torch.testing.assert_close(gradient(own), gradient(other), atol=2e-5, rtol=0)
        assert gradient(own).norm() > CONFIG.max_grad_norm  # so that clipping is tested below
        own.zero_grad()
        other.zero_grad()
    assert learn(alone, max_classes=1) == alone
    learn(whole)
    nearly_same(whole, alone)


def test_a_class_that_is_further_on_ends_first_and_in_the_same_result(pipe, trainable, tmp_path):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    ahead, *others = opened(pipe, tmp_path / "parts", trainable)
    for _ in range(3):
        loop.step([ahead])
    assert learn([ahead, *others]) == [ahead, *others]
    same([ahead, *others], expected)


def test_a_class_whose_loss_is_not_finite_leaves_the_others_alone(pipe, trainable, tmp_path):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    trainers = opened(pipe, tmp_path / "spoilt", trainable)
    loop.step(trainers)
    trainers[1].parameters["factors"].data[-1] = torch.nan
    done = []
    with pytest.raises(TrainingError, match=r"^df: the loss is not finite at step 2 of 5"):
        done.extend(train(trainers))
    assert len(trainers[1].losses) == 1
    with pytest.raises(TrainingError):
        learn(trainers)
    same([trainers[0], trainers[2]], [expected[0], expected[2]])


def test_a_class_that_is_done_is_yielded_before_the_others_are(pipe, trainable, tmp_path):
    ahead, behind = opened(pipe, tmp_path, trainable, LABELS[:2])
    for _ in range(3):
        loop.step([ahead])
    running = train([ahead, behind])
    assert next(running) is ahead
    assert len(behind.losses) == 2
    running.close()
    assert len(behind.losses) == 2


def test_a_class_that_stops_early_keeps_its_chosen_step_while_the_others_train_on(
    pipe, trainable, tmp_path, monkeypatch
):
    expected = opened(pipe, tmp_path / "expected", trainable)
    weights = []
    learn(expected, on_step=lambda each: weights.append((each.examples.label, len(each.losses), vector(each).clone())))
    first, stopping, last = opened(pipe, tmp_path / "found", trainable)
    rng = np.random.default_rng(0)
    sets = iter(
        [rng.normal(3, 1, (8, 4)), rng.normal(0, 1, (8, 4)), rng.normal(4, 1, (8, 4)), rng.normal(4, 1, (8, 4))]
    )
    stopping.choice = StepChoice(rng.normal(size=(12, 4)), lambda _images: next(sets), every=1, patience=1)
    monkeypatch.setattr(trainer_module, "choice_images", lambda _trainer: None if next_fails.pop(0) else np.zeros(1))
    next_fails = [False, False, True, False]
    done = [(each.examples.label, len(each.losses)) for each in train([first, stopping, last])]
    assert done == [("df", 4), ("akiec", 5), ("vasc", 5)]
    assert [point.step for point in stopping.choice.points] == [1, 2, 4]  # step 3 could not be drawn
    same([first, last], [expected[0], expected[2]])
    record = stopping.export(
        base={}, context=CONTEXT, provenance=Provenance(), trained_with=LABELS, selection=SELECTION
    )
    assert (record.steps, record.chosen.step) == (4, 2)
    assert record.final_loss == pytest.approx(sum(stopping.losses[:2]) / 2)
    (kept,) = (vector for label, step, vector in weights if (label, step) == ("df", 2))
    torch.testing.assert_close(vector(stopping), kept, atol=1e-6, rtol=0)
    assert AdapterRecord.read(stopping.out) == record


@pytest.mark.parametrize("max_classes", [1, 2])
def test_fewer_classes_at_once_end_in_the_same_result(pipe, trainable, tmp_path, max_classes):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    few = opened(pipe, tmp_path / "few", trainable)
    assert learn(few, max_classes=max_classes) == few
    same(few, expected)


def test_where_memory_ends_half_as_many_are_tried(pipe, trainable, tmp_path, monkeypatch, caplog):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    real = loop.class_losses

    def little(group, batches):
        if len(group) > 1:
            raise torch.OutOfMemoryError
        return real(group, batches)

    monkeypatch.setattr(loop, "class_losses", little)
    few = opened(pipe, tmp_path / "few", trainable)
    assert learn(few) == few
    same(few, expected)
    assert "3 classes in one batch do not fit into memory; trying 1" in caplog.text
    monkeypatch.setattr(loop, "class_losses", lambda _group, batches: little([1, 2], batches))
    with pytest.raises(torch.OutOfMemoryError):
        learn(opened(pipe, tmp_path / "none", trainable, ("df",)))


def test_a_first_step_of_the_optimiser_that_does_not_fit_is_made_again_and_nobody_elses_is(
    pipe, trainable, tmp_path, monkeypatch, caplog
):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    few = opened(pipe, tmp_path / "few", trainable)
    real, refused = torch.zeros_like, []

    def zeros_like(tensor, *args, **options):
        """AdamW makes its moments by this, after it has counted the step."""
        if tensor is few[1].parameters["factors"] and not refused:
            refused.append(tensor)
            raise torch.OutOfMemoryError
        return real(tensor, *args, **options)

    monkeypatch.setattr(torch, "zeros_like", zeros_like)
    steps = []
    assert learn(few, on_step=lambda each: steps.append((each.examples.label, len(each.losses)))) == few
    assert len(refused) == 1
    same(few, expected)
    assert sorted(steps) == [(label, step) for label in LABELS for step in range(1, 6)]
    assert "3 classes in one batch do not fit into memory; trying 1" in caplog.text


def test_what_does_not_fit_after_a_step_is_not_laid_to_the_number_of_classes(pipe, trainable, tmp_path, monkeypatch):
    def save_checkpoint(_trainer):
        raise torch.OutOfMemoryError("something else")

    monkeypatch.setattr(ClassTrainer, "save_checkpoint", save_checkpoint)
    trainers = opened(pipe, tmp_path, trainable)
    with pytest.raises(torch.OutOfMemoryError, match="something else"):
        learn(trainers)
    assert [len(trainer.losses) for trainer in trainers] == [1, 1, 1]


def test_every_step_of_every_class_is_reported_and_timed(pipe, trainable, tmp_path):
    steps = []
    trainers = opened(pipe, tmp_path, trainable)
    learn(trainers, on_step=lambda each: steps.append((each.examples.label, len(each.losses))))
    assert steps[:3] == [(label, 1) for label in LABELS]
    assert steps[-1] == ("vasc", 5)
    assert all(trainer.seconds > 0 for trainer in trainers)


SAVES_MEMORY = {
    "accumulation": {"gradient_accumulation_steps": 2},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "offload": {"cpu_offload": True, "preview_every": 2, "preview": SamplerConfig(steps=1, batch_size=2)},
}


@pytest.mark.parametrize("setting", SAVES_MEMORY.values(), ids=SAVES_MEMORY)
def test_what_saves_memory_changes_nothing(pipe, trainable, tmp_path, setting):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    config = dataclasses.replace(CONFIG, **setting)
    other = CONFIG.trainable(pipe, pipe.device)
    if config.gradient_checkpointing:
        other.pipe.unet.enable_gradient_checkpointing()
    found = opened(pipe, tmp_path / "found", other, config=config)
    learn(found)
    nearly_same(found, expected)


def test_a_compiled_denoiser_learns_the_same(pipe, trainable, tmp_path, monkeypatch):
    expected = opened(pipe, tmp_path / "expected", trainable)
    learn(expected)
    calls = []

    def compiling(module, **options):
        calls.append(options)
        return real(module, backend="aot_eager", **options)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compiling)
    monkeypatch.setattr(device, "compiles", lambda _device: True)
    found = opened(pipe, tmp_path / "found", CONFIG.trainable(pipe, pipe.device))
    learn(found)
    assert calls == [{"dynamic": False}]
    nearly_same(found, expected)
