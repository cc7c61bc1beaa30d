import dataclasses

import pytest
import torch

from augment import device
from augment.context import Context
from augment.diffusion.sample import SamplerConfig
from augment.finetune import drawn as module
from augment.finetune import preview
from augment.finetune.examples import ClassExamples
from augment.finetune.loop import class_losses, train
from augment.finetune.trainer import ClassTrainer
from augment.methods import batched_lora, hypernetwork, lora, textual_inversion
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from augment.methods.table import METHODS
from augment.prompts import PromptConfig
from data.errors import BaseError
from data.pixels import PixelConfig
from data.splits.provenance import Provenance


@pytest.fixture
def examples():
    """Images that are one flat colour: a class that a few steps can begin to learn."""
    colour = 2 * torch.randn(8, 1, 1, generator=torch.Generator().manual_seed(0))
    means = colour.expand(3, 8, 8, 4, 4)
    return ClassExamples("df", 1, ("a df", "a lesion", ""), means, torch.zeros_like(means), torch.empty(0, 8, 4, 4))


def trainer(pipe, examples, config, folder):
    return ClassTrainer(pipe, config.trainable(pipe, pipe.device), examples, config, folder, "k")


def run(trainer):
    assert list(train([trainer])) == [trainer]


@pytest.mark.parametrize(
    ("method", "rate", "share"), [("lora", 1e-2, 0.9), ("dreambooth", 3e-3, 0.5), ("hypernetwork", 1e-1, 0.95)]
)
def test_training_lowers_the_loss(pipe, examples, tmp_path, method, rate, share):
    config = METHODS[method](learning_rate=rate, steps=25, batch_size=8, lr_warmup_steps=1, preview_every=0)
    training = trainer(pipe, examples, config, tmp_path)
    run(training)
    assert training.losses[-1] < share * training.losses[0]


def test_samples_weigh_what_min_snr_says(pipe, examples, tmp_path):
    """A gamma above every signal-to-noise ratio weighs v-prediction's error by snr / (snr + 1), which is below 1."""
    plain, weighted = (
        trainer(pipe, examples, LoraConfig(steps=1, min_snr_gamma=gamma, preview_every=0), tmp_path)
        for gamma in (None, 1e6)
    )
    run(plain)
    run(weighted)
    assert 0 < weighted.losses[0] < plain.losses[0]


def test_the_record_says_what_was_made_and_from_what(pipe, examples, tmp_path):
    config = LoraConfig(steps=2, batch_size=2, rank=2, preview_every=0, checkpointing_steps=1)
    training = trainer(pipe, examples, config, tmp_path)
    run(training)
    assert (tmp_path / "checkpoint").is_dir()
    context = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=3)
    provenance = Provenance(image_ids=frozenset({"a"}))
    record = training.export(base={"source": "x"}, context=context, provenance=provenance, trained_with=["df", "nv"])
    assert record == AdapterRecord.read(tmp_path)
    assert (record.label, record.prompt, record.seed, record.trained_with) == ("df", "a df", 3, ["df", "nv"])
    assert record.final_loss == pytest.approx(sum(training.losses) / 2)
    assert (tmp_path / record.weights).is_file()
    assert not (tmp_path / "checkpoint").exists()
    assert len((tmp_path / "loss.csv").read_text().splitlines()) == 3


PREVIEWS = LoraConfig(
    steps=4, batch_size=2, rank=2, preview_every=2, cpu_offload=True, preview=SamplerConfig(steps=1, batch_size=3)
)


def strips(pipe, examples, folder):
    trainers = [
        trainer(pipe, dataclasses.replace(examples, label=label), PREVIEWS, folder / label) for label in ("df", "nv")
    ]
    for training in trainers:
        run(training)
    assert [len(training.losses) for training in trainers] == [4, 4]
    return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]


def test_a_preview_is_sampled_fewer_at_a_time_where_it_does_not_fit(pipe, examples, tmp_path, monkeypatch):
    whole = strips(pipe, examples, tmp_path / "whole")
    sampled, tried = preview.sample_batch, []

    def sample_batch(pipe, images, config, size):
        tried.append((len(images), config.batch_size))
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return sampled(pipe, images, config, size)

    monkeypatch.setattr(preview, "sample_batch", sample_batch)
    assert strips(pipe, examples, tmp_path / "few") == whole
    assert tried == [(3, 3), (1, 1), (1, 1), (1, 1)] * 4
    assert len(whole) == 4


@pytest.mark.parametrize(
    ("error", "message"), [(torch.OutOfMemoryError(), "not even one image"), (BaseError("pixels"), "pixels")]
)
def test_a_preview_that_fails_is_left_out_and_the_base_is_offloaded(
    pipe, examples, tmp_path, monkeypatch, caplog, error, message
):
    def decode(*_given):
        raise error

    offloaded = []
    monkeypatch.setattr(module, "decode", decode)
    monkeypatch.setattr(device, "offload", offloaded.append)
    assert strips(pipe, examples, tmp_path) == []
    assert offloaded == [pipe] * 4
    assert caplog.messages[0].startswith(f"df: no preview of step 2: {message}")
    assert "classes in one batch" not in caplog.text


@pytest.mark.parametrize(
    ("method", "text_encoder"),
    [
        ("lora", False),
        ("lora", True),
        ("dreambooth", False),
        ("dreambooth", True),
        ("textual-inversion", True),
        ("hypernetwork", False),
    ],
)
def test_a_card_with_sixteen_bits_trains_in_full_precision_what_is_learned(
    pipe, examples, tmp_path, monkeypatch, method, text_encoder
):
    """As on a GPU, but on the CPU: frozen weights and products in bfloat16."""
    settings = {"steps": 2, "batch_size": 2, "text_encoder": text_encoder, "preview_every": 2}
    config = METHODS[method](preview=SamplerConfig(steps=1, batch_size=2), **settings)
    training = trainer(pipe, examples, config, tmp_path)
    expected = class_losses([training], [training.batch()]).item()
    for where in (device, lora, batched_lora, textual_inversion, hypernetwork):
        monkeypatch.setattr(where, "training_dtype", lambda _device: torch.bfloat16)
    training = trainer(pipe, examples, config, tmp_path)
    run(training)
    assert {parameter.dtype for parameter in training.parameters.values()} == {torch.float32}
    assert training.losses[0] == pytest.approx(expected, rel=0.02)
    assert (tmp_path / "previews" / "step-000002.jpg").is_file()
