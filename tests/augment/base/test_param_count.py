import dataclasses
import json
import shutil

import pytest
import torch

from augment.base.config import TINY, BaseConfig, load_base
from augment.base.train import OwnBaseConfig
from augment.finetune.config import FinetuneConfig
from augment.methods.dreambooth import DreamBooth
from augment.methods.lora import Lora
from augment.param_count import learned, parts_of
from data.errors import BaseError, ConfigError


@pytest.fixture(scope="module")
def pipe():
    return load_base(BaseConfig())


def test_the_tiny_base_has_the_sizes_that_its_weights_have(pipe):
    parts = parts_of(BaseConfig(), 64)
    for name in ("unet", "text_encoder", "vae"):
        assert parts.numbers(name) == sum(p.numel() for p in getattr(pipe, name).parameters())
        assert all(p.is_meta for p in getattr(parts, name).parameters())
    assert parts.latent(64) == 8 * 16 * 16


@pytest.mark.parametrize("text_encoder", [False, True])
def test_what_a_class_learns_is_what_asks_for_gradients(pipe, text_encoder):
    parts, config = parts_of(BaseConfig(), 64), FinetuneConfig(rank=4, text_encoder=text_encoder)
    for frozen in (pipe.unet, pipe.text_encoder):
        frozen.requires_grad_(requires_grad=False)
    for method, made in (
        ("lora", Lora(rank=4, text_encoder=text_encoder)),
        ("dreambooth", DreamBooth(text_encoder=text_encoder)),
    ):
        opened = made.open(pipe, 0)
        asked = [p for part in (opened.unet, opened.text_encoder) for p in part.parameters() if p.requires_grad]
        assert learned(parts, dataclasses.replace(config, method=method)) == sum(p.numel() for p in asked)


def test_a_base_that_is_not_here_counts_as_the_largest_that_fits():
    parts = parts_of(BaseConfig(source="nobody/has-this"), 512)
    assert 865.9e6 < parts.numbers("unet") < 880e6  # Stable Diffusion 2.1 has 865.9 million
    assert 340e6 < parts.numbers("text_encoder") < 341e6
    assert 83.6e6 < parts.numbers("vae") < 83.7e6
    assert parts.latent(512) == 4 * 64 * 64


def test_the_configs_of_a_single_file_are_those_named(tmp_path):
    file = tmp_path / "base.safetensors"
    file.touch()
    named, tiny = parts_of(BaseConfig(source=str(file), config=str(TINY)), 64), parts_of(BaseConfig(), 64)
    assert named.numbers("unet") == tiny.numbers("unet")


def test_a_base_of_the_studys_own_has_the_sizes_that_it_will_have():
    continued = BaseConfig(source="pretrain")
    assert parts_of(continued, 64).numbers("unet") == parts_of(BaseConfig(), 64).numbers("unet")
    sizes = {"image_size": 64, "unet_channels": (16, 32, 32)}
    scratch = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(start="scratch", sizes=sizes, autoencoder={}))
    assert parts_of(scratch, 64).numbers("unet") < parts_of(BaseConfig(), 64).numbers("unet") / 4


@pytest.mark.parametrize(
    "odd",
    [
        {"unet_channels": ()},
        {"vae_channels": ()},
        {"text_width": 130},
        {"attention_heads": 0},
        {"unet_channels": (50, 112)},
    ],
    ids=str,
)
def test_sizes_of_which_no_model_can_be_built_are_said(odd):
    scratch = OwnBaseConfig(start="scratch", sizes=odd, autoencoder={})
    with pytest.raises(
        ConfigError, match=r"^base\.pretrain\.sizes: no model can be built of these \(.*\); change them"
    ):
        parts_of(BaseConfig(source="pretrain", pretrain=scratch), 64)


@pytest.mark.parametrize(
    ("part", "odd"),
    [
        ("unet", {"block_out_channels": []}),
        ("unet", {"norm_num_groups": 0}),
        ("unet", {"down_block_types": ["Other"]}),
        ("unet", [1, 2]),
        ("text_encoder", {"num_attention_heads": 0}),
        ("text_encoder", {"hidden_size": "many"}),
        ("vae", {"block_out_channels": []}),
    ],
)
def test_a_base_of_broken_configs_is_said_as_loading_says_it(part, odd, tmp_path):
    folder = shutil.copytree(TINY, tmp_path / "base")
    file = folder / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **odd} if isinstance(odd, dict) else odd))
    with pytest.raises(BaseError, match=rf"^base {folder}.*: cannot be loaded \(.*\); copy or fetch the folder anew$"):
        parts_of(BaseConfig(source=str(folder)), 64)


@pytest.mark.parametrize("source", ["/nowhere", "nonsense", "a/b/c", "x/base.ckpt"])
def test_a_base_that_lies_nowhere_does_not_count_as_the_largest(source):
    with pytest.raises(BaseError, match=rf"^base\.source: {source}: no such file or folder"):
        parts_of(BaseConfig(source=source), 64)
    with pytest.raises(BaseError, match="no such file or folder"):
        parts_of(BaseConfig(source="pretrain", pretrain=OwnBaseConfig(start=source)), 64)


def test_sizes_leave_torch_as_it_was():
    before = torch.get_rng_state()
    parts_of(BaseConfig(), 64)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.empty(1).device.type == "cpu"
