"""The embedded start: small, of drawings alone, and of no rare class."""

import dataclasses

import pytest
import torch
from safetensors import safe_open

from classify import embedded
from classify.config import ClassifierConfig
from classify.model import build
from classify.oracle import STUDY_SEEDS
from classify.weights import weights_identity
from data.errors import BaseError
from data.splits.split import SplitConfig
from data.store import file_sha256, read_json


@pytest.fixture(scope="module")
def kept():
    with safe_open(embedded.weights_file(), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


@pytest.fixture(scope="module")
def network():
    return build("phantoms", 5)


def test_it_takes_at_most_nine_megabytes_and_is_kept_in_16_bits_without_a_head(kept):
    assert embedded.weights_file().stat().st_size < 9_000_000
    floating = {value.dtype for value in kept.values() if value.is_floating_point()}
    assert floating == {torch.float16}
    assert not any(name.startswith("classifier.") for name in kept)


def test_a_network_has_its_weights_in_32_bits_and_a_head_of_its_own_classes(network, kept):
    state = network.state_dict()
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    assert state.keys() - kept.keys() == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(state[name], value.to(state[name].dtype)) for name, value in kept.items())
    assert state["classifier.weight"].shape == (5, 1280)
    assert all(value.isfinite().all() for value in state.values())


def test_the_seed_draws_the_head_alone(network):
    other = build("phantoms", 5, seed=1).state_dict()
    differing = {name for name, value in network.state_dict().items() if not torch.equal(value, other[name])}
    assert differing == {"classifier.weight"}


def test_another_architecture_is_refused():
    with pytest.raises(BaseError, match=r"classifier\.weights: phantoms are those of efficientnet_b0; set classifier"):
        build("phantoms", 5, architecture="test_efficientnet")
    with pytest.raises(ValueError, match="phantoms are those of efficientnet_b0"):
        dataclasses.replace(ClassifierConfig(weights="phantoms"), model="test_efficientnet")


def test_its_record_names_its_bytes_and_it_is_identified_by_them():
    record = read_json(embedded.FOLDER / embedded.RECORD)
    assert record["sha256"] == file_sha256(embedded.weights_file()) == weights_identity("phantoms")
    assert record["validation_balanced_accuracy"] > 0.9


def test_it_has_seen_no_rare_class_and_no_phantom_of_a_study():
    record = read_json(embedded.FOLDER / embedded.RECORD)
    seen = record["trained_on"].rpartition(" of ")[2].split(", ")
    assert seen == ["bcc", "bkl", "mel", "nv"]
    assert record["config"]["seed"] >= STUDY_SEEDS
    assert not set(seen) & set(SplitConfig().rare)
