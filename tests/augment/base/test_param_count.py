import json
import shutil

import pytest
import torch

from augment.base.config import TINY, BaseConfig, OwnBaseConfig
from augment.base.load import load_base
from augment.base.param_count import base_parts
from data.errors import BaseError, ConfigError


@pytest.fixture(scope="module")
def pipe():
    return load_base(BaseConfig())


def test_the_tiny_base_has_the_sizes_that_its_weights_have(pipe):
    parts = base_parts(BaseConfig(), 64)
    for name in ("unet", "text_encoder", "vae"):
        assert parts.param_count(name) == sum(p.numel() for p in getattr(pipe, name).parameters())
        assert all(p.is_meta for p in getattr(parts, name).parameters())
    assert parts.latent_size(64) == 8 * 16 * 16


def test_a_base_that_is_not_here_counts_as_the_largest_that_fits():
    parts = base_parts(BaseConfig(source="nobody/has-this"), 512)
    assert 865.9e6 < parts.param_count("unet") < 880e6  # Stable Diffusion 2.1 has 865.9 million
    assert 340e6 < parts.param_count("text_encoder") < 341e6
    assert 83.6e6 < parts.param_count("vae") < 83.7e6
    assert parts.latent_size(512) == 4 * 64 * 64


def test_the_configs_of_a_single_file_are_those_named(tmp_path):
    file = tmp_path / "base.safetensors"
    file.touch()
    named, tiny = base_parts(BaseConfig(source=str(file), config=str(TINY)), 64), base_parts(BaseConfig(), 64)
    assert named.param_count("unet") == tiny.param_count("unet")


def test_a_base_of_the_studys_own_has_the_sizes_that_it_will_have():
    continued = BaseConfig(source="pretrain")
    assert base_parts(continued, 64).param_count("unet") == base_parts(BaseConfig(), 64).param_count("unet")
    sizes = {"image_size": 64, "unet_channels": (16, 32, 32)}
    scratch = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(init_from="scratch", model=sizes, autoencoder={}))
    assert base_parts(scratch, 64).param_count("unet") < base_parts(BaseConfig(), 64).param_count("unet") / 4


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
    scratch = OwnBaseConfig(init_from="scratch", model=odd, autoencoder={})
    with pytest.raises(
        ConfigError, match=r"^base\.pretrain\.model: no model can be built of these sizes \(.*\); change them"
    ):
        base_parts(BaseConfig(source="pretrain", pretrain=scratch), 64)


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
        base_parts(BaseConfig(source=str(folder)), 64)


@pytest.mark.parametrize("source", ["/nowhere", "nonsense", "a/b/c", "x/base.ckpt"])
def test_a_base_that_lies_nowhere_does_not_count_as_the_largest(source):
    with pytest.raises(BaseError, match=rf"^base\.source: {source}: no such file or folder"):
        base_parts(BaseConfig(source=source), 64)
    with pytest.raises(BaseError, match="no such file or folder"):
        base_parts(BaseConfig(source="pretrain", pretrain=OwnBaseConfig(init_from=source)), 64)


def test_sizes_leave_torch_as_it_was():
    before = torch.get_rng_state()
    base_parts(BaseConfig(), 64)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.empty(1).device.type == "cpu"
