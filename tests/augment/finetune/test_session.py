"""What the classes of one call share is made once, and each class is trained on what is its own."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from augment import device
from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.context import Context
from augment.finetune import loop, session
from augment.finetune.session import FinetuneSession
from augment.finetune.trainer import ClassTrainer
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from augment.prompts import PromptConfig
from data.errors import ConfigError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.splits.provenance import Provenance
from data.store import derive_seed

SETTINGS = {"steps": 1, "batch_size": 4, "lr_warmup_steps": 1, "preview_every": 0}
LORA = LoraConfig(rank=2, learning_rate=1e-2, **SETTINGS)
DREAM = DreamBoothConfig(learning_rate=1e-3, num_class_images=3, prior_loss_weight=0.5, **SETTINGS)
CONTEXT = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=7)


@pytest.fixture(autouse=True)
def loaded(pipe, monkeypatch):
    """Loading is slow and tested elsewhere. What is loaded asks for gradients, as diffusers leaves it."""

    def load(_base):
        made = copy.deepcopy(pipe)
        for part in (made.unet, made.vae, made.text_encoder):
            part.requires_grad_(requires_grad=True)
        return made

    monkeypatch.setattr(session, "load_base", load)


def prepare(base, config, classes=1, **context):
    return FinetuneSession.prepare(base, config, dataclasses.replace(CONTEXT, **context), classes)


def train(made, shots, folder, *labels):
    """Train these classes; gives labels and seconds as they come, and the adapters' records."""
    out = {label: folder / label for label in labels}
    few, keys = {label: shots[label] for label in labels}, {label: f"key of {label}" for label in labels}
    done = list(made.train(few, out, keys, lambda _trainer: None))
    return done, {label: AdapterRecord.read(folder / label) for label in labels}


@pytest.fixture
def examples_of(base, shots, monkeypatch, tmp_path):
    """What a session of this config gives a class to learn from; nothing is trained."""

    def of(config, label="df", few=None, **context):
        trainers = []
        monkeypatch.setattr(session, "train", lambda given, **_: trainers.extend(given) or iter(()))
        prepared = prepare(base, config, **context)
        assert list(prepared.train({label: few or shots[label]}, {label: tmp_path}, {label: "k"}, None)) == []
        return trainers[0].examples

    return of


@pytest.mark.parametrize("config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_the_base_is_frozen_and_only_its_copy_is_trained(base, pipe, shots, tmp_path, config):
    made = prepare(base, config)
    train(made, shots, tmp_path, "df")
    for name in ("unet", "text_encoder", "vae"):
        loaded = getattr(made.pipe, name)
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        expected = getattr(pipe, name).state_dict()
        assert all(torch.equal(value.cpu(), expected[key]) for key, value in loaded.state_dict().items())


def test_what_cannot_be_trained_is_refused_before_the_base_is_loaded(base, monkeypatch):
    monkeypatch.setattr(device, "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(session, "load_base", lambda _base: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match="adamw-8bit needs an NVIDIA GPU"):
        prepare(base, dataclasses.replace(LORA, optimizer="adamw-8bit"))


def test_a_size_that_the_base_cannot_make_is_refused_before_the_prior_is_sampled(base, monkeypatch):
    monkeypatch.setattr(session, "sample_prior", lambda *_: pytest.fail("sampled"))
    with pytest.raises(ConfigError, match=r"pixels\.size is 24"):
        prepare(base, DREAM, pixels=PixelConfig(size=24))


def test_the_time_of_what_is_shared_is_divided_among_the_classes(base, monkeypatch):
    clock = iter([100.0, 108.0])
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert prepare(base, LORA, classes=4).seconds == 2.0


def test_each_class_is_recorded_with_its_own_images_and_its_companions(base, shots, tmp_path):
    done, records = train(prepare(base, LORA, classes=2), shots, tmp_path, "vasc", "df")
    assert sorted(label for label, _ in done) == ["df", "vasc"]
    for label, seconds in done:
        record = records[label]
        assert record.provenance == Provenance.of(shots[label])
        assert (record.base, record.key, record.seed) == (base_identity(base), f"key of {label}", 7)
        assert record.trained_with == ["vasc", "df"]
        assert record.seconds == round(seconds, 2)


def test_the_seed_of_a_class_follows_from_its_label_and_the_study_s(examples_of):
    assert examples_of(LORA).seed == derive_seed(7, "df")
    assert examples_of(LORA, "vasc").seed == derive_seed(7, "vasc")
    assert examples_of(LORA, seed=8).seed == derive_seed(8, "df")


@pytest.mark.parametrize(("dihedral", "views"), [(True, 8), (False, 1)])
def test_a_class_learns_from_each_of_its_images_in_as_many_views_as_asked_for(examples_of, dihedral, views):
    examples = examples_of(dataclasses.replace(LORA, dihedral=dihedral))
    assert examples.means.shape == examples.stds.shape == (5, views, 8, 4, 4)
    assert examples.label == "df"


def test_the_prior_is_that_of_the_method(examples_of):
    without, held = examples_of(LORA), examples_of(DREAM)
    assert (len(without.prior_latents), without.prior_loss_weight) == (0, 0.0)
    assert (len(held.prior_latents), held.prior_loss_weight) == (3, 0.5)


def test_the_prompt_of_an_image_tells_what_the_table_knows_of_it(examples_of, shots):
    table = shots["df"].table.assign(sex=["male", "", "female", "male", "unknown"])
    few = Manifest(table, shots["df"].roots)
    told = examples_of(LORA, few=few, prompts=PromptConfig(sex="sex"))
    prompts = [told.prompts[index] for index in told.prompt_index]
    assert [(" woman" in prompt, " man" in prompt) for prompt in prompts] == [
        (False, True), (False, False), (True, False), (False, True), (False, False)
    ]  # fmt: skip
    plain = examples_of(LORA, few=few)
    assert {plain.prompts[index] for index in plain.prompt_index} == {"dermoscopy of a dermatofibroma"}
    rare = examples_of(DREAM, few=few)
    assert rare.prompts[0] == "dermoscopy of a sks dermatofibroma"


@pytest.mark.parametrize("config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_a_small_gpu_holds_only_what_each_stage_needs(base, shots, tmp_path, monkeypatch, config):
    events = []

    def record(where, name, event, *options_of_interest):
        """Note what a stage is called with, and call it."""
        real = getattr(where, name)

        def call(*args, **options):
            events.append((event, *(options[key] for key in options_of_interest)))
            return real(*args, **options)

        monkeypatch.setattr(where, name, call)

    record(session, "encode_posteriors", "encode", "batch_size")
    record(ClassTrainer, "__post_init__", "trainer")
    record(session, "train", "train")
    record(device, "offload", "offload")
    real = device.to_device_only
    monkeypatch.setattr(
        device, "to_device_only", lambda *given: (events.append(("to device", *given[2:])), real(*given))[1]
    )
    _, small = train(prepare(base, dataclasses.replace(config, cpu_offload=True)), shots, tmp_path / "small", "df")
    assert [event for event in events if event != ("to device",)] == [
        ("offload",),  # and then the copy that is trained is made
        ("to device", "vae"),
        ("encode", 1),
        ("to device", "text_encoder"),
        ("trainer",),
        ("train",),
    ]
    assert events[-2:] == [("to device",), ("train",)]
    events.clear()
    _, large = train(prepare(base, config), shots, tmp_path / "large", "df")
    assert events == [("encode", 8), ("trainer",), ("train",)]
    found = load_file(tmp_path / "small" / "df" / small["df"].weights)
    expected = load_file(tmp_path / "large" / "df" / large["df"].weights)
    assert all(torch.allclose(found[key], value, atol=1e-3, rtol=1e-3) for key, value in expected.items())


def test_activations_are_computed_twice_only_if_asked_for(base, shots, tmp_path, monkeypatch):
    checkpointed = []
    real = loop.step
    monkeypatch.setattr(
        loop,
        "step",
        lambda group: (checkpointed.append(group[0].trainable.pipe.unet.is_gradient_checkpointing), real(group))[1],
    )
    for asked in (False, True):
        config = dataclasses.replace(LORA, gradient_checkpointing=asked)
        train(prepare(base, config), shots, tmp_path / str(asked), "df")
    assert checkpointed == [False, True]


def test_an_adapter_that_starts_from_a_strange_lora_has_a_provenance_that_is_not_complete(shots, tmp_path):
    config = LoraConfig(init_lora=str(tmp_path / "lora.safetensors"))
    found = FinetuneSession._provenance(SimpleNamespace(config=config, base=BaseConfig()), shots["df"])
    assert found.image_ids == Provenance.of(shots["df"]).image_ids
    assert not found.is_complete
    for plain in (LoraConfig(), DreamBoothConfig()):
        assert FinetuneSession._provenance(SimpleNamespace(config=plain), shots["df"]) == Provenance.of(shots["df"])
