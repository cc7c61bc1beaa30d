import dataclasses

import numpy as np
import pytest
import torch

from augment import device
from augment.diffusion.sample import SamplerConfig
from augment.finetune import trainer as module
from augment.finetune.config import FinetuneConfig
from augment.finetune.examples import Lesson
from augment.finetune.loop import class_losses, train
from augment.finetune.trainer import Training
from augment.methods import lora
from data.errors import BaseError

pytestmark = pytest.mark.numerical


@pytest.fixture
def lesson():
    """Images that are one flat colour: a class that a few steps can begin to learn."""
    colour = 2 * torch.randn(8, 1, 1, generator=torch.Generator().manual_seed(0))
    means = colour.expand(3, 8, 8, 4, 4)
    return Lesson("df", 1, ("a df", "a lesion", ""), means, torch.zeros_like(means), torch.empty(0, 8, 4, 4))


@pytest.mark.parametrize(("method", "rate", "share"), [("lora", 1e-2, 0.9), ("dreambooth", 3e-3, 0.5)])
def test_training_lowers_the_loss(pipe, lesson, tmp_path, method, rate, share):
    options = {"steps": 25, "batch_size": 8, "rank": 4, "warmup": 1, "preview_every": 0}
    training = Training(pipe, lesson, FinetuneConfig(method=method, learning_rate=rate, **options), tmp_path, "k")
    run(training)
    assert training.losses[-1] < share * training.losses[0]


def test_samples_weigh_what_min_snr_says(pipe, lesson, tmp_path):
    """A gamma above every signal-to-noise ratio weighs v-prediction's error by snr / (snr + 1), which is below 1."""
    plain, weighted = (
        Training(pipe, lesson, FinetuneConfig(steps=1, min_snr_gamma=gamma, preview_every=0), tmp_path, "k")
        for gamma in (None, 1e6)
    )
    run(plain)
    run(weighted)
    assert 0 < weighted.losses[0] < plain.losses[0]


def run(training):
    train([training], lambda _training: None)


def test_the_learning_rate_follows_the_method():
    assert FinetuneConfig().rate == 1e-4
    assert FinetuneConfig(method="dreambooth").rate == 5e-6
    assert FinetuneConfig(learning_rate=3e-4).rate == 3e-4


PREVIEWS = FinetuneConfig(
    steps=4, batch_size=2, rank=2, preview_every=2, offload=True, preview=SamplerConfig(steps=1, batch_size=3)
)


def strips(pipe, lesson, folder, monkeypatch):
    """What the previews of two classes show, before it is coded as JPEG."""
    shown, write_strip = [], module.write_strip

    def write(images, path):
        shown.append(images.astype(int))
        write_strip(images, path)

    monkeypatch.setattr(module, "write_strip", write)
    trainings = [
        Training(pipe, dataclasses.replace(lesson, label=label), PREVIEWS, folder / label, "k")
        for label in ("df", "nv")
    ]
    train(trainings[:1], lambda _training: None)
    train(trainings[1:], lambda _training: None)
    assert [len(training.losses) for training in trainings] == [4, 4]
    monkeypatch.setattr(module, "write_strip", write_strip)
    assert len(list(folder.rglob("*.jpg"))) == len(shown)
    return shown


def test_a_preview_is_drawn_and_decoded_fewer_at_a_time_where_it_does_not_fit(pipe, lesson, tmp_path, monkeypatch):
    whole = strips(pipe, lesson, tmp_path / "whole", monkeypatch)
    sample, tried = module.sample_latents, []

    def sample_latents(pipe, told, untold, seeds, config, size):
        tried.append((len(seeds), config.batch_size))
        if len(seeds) > 1:
            raise torch.OutOfMemoryError
        return sample(pipe, told, untold, seeds, config, size)

    monkeypatch.setattr(module, "sample_latents", sample_latents)
    few = strips(pipe, lesson, tmp_path / "few", monkeypatch)
    # Sums are rounded otherwise in another batch size, and on another processor: a level here and there.
    np.testing.assert_allclose(few, whole, atol=1, rtol=0)
    assert tried == [(3, 3), (1, 1), (1, 1), (1, 1)] * 4
    assert [images.shape for images in whole] == [(3, 32, 32, 3)] * 4


@pytest.mark.parametrize(
    ("fault", "said"), [(torch.OutOfMemoryError(), "not even one image"), (BaseError("pixels"), "pixels")]
)
def test_a_preview_that_cannot_be_drawn_is_left_out_and_the_base_rests(
    pipe, lesson, tmp_path, monkeypatch, caplog, fault, said
):
    def decode(*_given):
        raise fault

    rested = []
    monkeypatch.setattr(module, "decode", decode)
    monkeypatch.setattr(device, "rest", rested.append)
    assert strips(pipe, lesson, tmp_path, monkeypatch) == []
    assert rested == [pipe] * 4
    assert caplog.messages[0].startswith(f"df: no preview of step 2: {said}")
    assert "classes in one batch" not in caplog.text


@pytest.mark.parametrize("text_encoder", [False, True])
@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_a_card_with_sixteen_bits_trains_in_full_precision_what_is_learned(
    pipe, lesson, tmp_path, monkeypatch, method, text_encoder
):
    """As on a GPU, but on the CPU: frozen weights and products in bfloat16."""
    options = {"steps": 2, "batch_size": 2, "text_encoder": text_encoder, "preview_every": 2}
    config = FinetuneConfig(method=method, preview=SamplerConfig(steps=1, batch_size=2), **options)
    training = Training(pipe, lesson, config, tmp_path, "k")
    expected = class_losses([training], [training.batch()]).item()
    monkeypatch.setattr(device, "training_dtype", lambda _where: torch.bfloat16)
    monkeypatch.setattr(lora, "training_dtype", lambda _where: torch.bfloat16)
    training = Training(pipe, lesson, config, tmp_path, "k")
    run(training)
    assert {parameter.dtype for parameter in training.parameters.values()} == {torch.float32}
    assert training.losses[0] == pytest.approx(expected, rel=0.02)
    assert (tmp_path / "previews" / "step-000002.jpg").is_file()
