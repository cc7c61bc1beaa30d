"""The held-out loss is always of the same noise and timesteps, and nothing else depends on it."""

import pytest
import torch

from augment.diffusion.conditioning import encode_prompt
from augment.finetune import held_out as module
from augment.finetune.examples import ClassExamples
from augment.finetune.held_out import HeldOut, HeldOutLoss, held_out_loss
from augment.finetune.loop import train
from augment.finetune.trainer import ClassTrainer
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from data.errors import DataError
from data.splits.provenance import Provenance

CONFIG = LoraConfig(steps=2, batch_size=2, rank=2, learning_rate=1e-2, lr_warmup_steps=1, preview_every=0)


def latents(n=5, seed=0):
    return torch.randn(n, 8, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def trainer(pipe, tmp_path):
    """A class in training, whose held-out loss is of five latents."""

    def made(config=CONFIG, **held_out):
        means = latents(3, seed=1)[:, None].repeat(1, 8, 1, 1, 1)
        examples = ClassExamples(
            "df", 1, ("a df", "a lesion", ""), means, torch.zeros_like(means), torch.empty(0, 8, 4, 4)
        )
        loss = HeldOutLoss(**{"every": 1, "latents": latents(), "origin": "other lesions", **held_out})
        return ClassTrainer(pipe, config.trainable(pipe, pipe.device), examples, config, tmp_path, "k", held_out=loss)

    return made


def loss_of(trainable, pipe, **options):
    return held_out_loss(trainable, encode_prompt(pipe, "a df"), latents(), **options)


def test_the_loss_is_the_same_however_many_are_computed_at_a_time_and_draws_no_global_number(pipe):
    trainable = CONFIG.trainable(pipe, pipe.device)
    trainable.bind([trainable.parameters(0)])
    before = torch.get_rng_state()
    whole = loss_of(trainable, pipe)
    assert loss_of(trainable, pipe) == whole
    assert loss_of(trainable, pipe, batch_size=2) == pytest.approx(whole, rel=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_loss_is_that_of_the_bound_parameters(pipe):
    trainable = CONFIG.trainable(pipe, pipe.device)
    base = trainable.parameters(0)
    changed = {name: torch.nn.Parameter(value + 0.05) for name, value in base.items()}
    trainable.bind([base])
    first = loss_of(trainable, pipe)
    trainable.bind([changed])
    assert loss_of(trainable, pipe) != first
    trainable.bind([base])
    assert loss_of(trainable, pipe) == first


def test_samples_weigh_as_they_do_in_training(pipe):
    trainable = CONFIG.trainable(pipe, pipe.device)
    trainable.bind([trainable.parameters(0)])
    assert 0 < loss_of(trainable, pipe, min_snr_gamma=1e6) < loss_of(trainable, pipe)


def test_dropout_is_off_while_it_is_measured_and_on_again_afterwards(pipe):
    config = HypernetworkConfig(layer_structure=(1, 2, 1), dropout=0.5)
    trainable = config.trainable(pipe, pipe.device)
    trainable.bind([{name: torch.nn.Parameter(each + 0.1) for name, each in trainable.parameters(0).items()}])
    training = [each.training for each in trainable.pipe.unet.modules()]
    assert any(training)
    torch.manual_seed(0)
    first = loss_of(trainable, pipe)
    torch.manual_seed(1)
    assert loss_of(trainable, pipe) == first
    assert [each.training for each in trainable.pipe.unet.modules()] == training


def test_a_loss_that_cannot_be_computed_is_left_out_with_a_warning_and_training_goes_on(trainer, monkeypatch, caplog):
    found = iter([torch.OutOfMemoryError(), float("nan")])

    def failing(*_given, **_options):
        result = next(found)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(module, "held_out_loss", failing)
    training = trainer()
    assert list(train([training])) == [training]
    assert training.held_out.points == []
    assert caplog.messages == [f"df: no held-out loss of step {step}: not finite, or no memory" for step in (1, 2)]
    record = training.held_out.record()
    assert (record.loss, record.reason) == (None, "it could not be computed while the class was trained")


def test_a_class_without_photographs_has_no_loss_and_says_why(trainer):
    training = trainer(latents=None, reason="there are none")
    assert list(train([training])) == [training]
    assert training.held_out.points == []
    assert (training.held_out.record().loss, training.held_out.record().reason) == (None, "there are none")


def test_the_record_names_the_last_loss_and_the_photographs(trainer):
    seen = Provenance(image_ids=frozenset({"a"}))
    training = trainer(provenance=seen)
    assert list(train([training])) == [training]
    assert [step for step, _ in training.held_out.points] == [1, 2]
    record = training.held_out.record()
    assert (record.loss, record.photographs, record.origin) == (training.held_out.points[-1][1], 5, "other lesions")
    assert record.seen == seen
    assert training.held_out.table().splitlines()[0] == "step,loss"


def test_a_leakage_group_that_trains_and_is_held_out_is_refused(shots, held_out):
    HeldOut(photographs=held_out, origin="other lesions").refuse_shared(shots)
    with pytest.raises(DataError, match=r"^df: 5 leakage groups would both train the adapter and be held out, first"):
        HeldOut(photographs={"df": shots["df"]}, origin="x").refuse_shared(shots)
