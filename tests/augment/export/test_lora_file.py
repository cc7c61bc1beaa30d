"""kohya's LoRA file: names that other programs read, and an update of the same strength."""

import copy
import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from augment.export.lora_file import kohya_lora, metadata, write_safetensors
from augment.methods.lora import LoraConfig
from augment.methods.lora_layers import lora_keys, lora_shapes, target_layers
from augment.methods.record import AdapterRecord
from augment.methods.weights import with_parts

RANK = 4
# What the webui takes apart (extensions-builtin/Lora/networks.py, convert_diffusers_name_to_compvis) and kohya makes
# (networks/lora.py, create_modules).
NAMES = (
    r"lora_unet_(down|up)_blocks_\d+_(attentions|resnets)_\d+_.+",
    r"lora_unet_mid_block_(attentions|resnets)_\d+_.+",
    r"lora_te_text_model_encoder_layers_\d+_self_attn_(q|k|v|out)_proj",
)
RESNET = r"conv1|conv2|time_emb_proj|conv_shortcut"
ATTENTION = r"proj_in|proj_out|transformer_blocks_\d+_(attn[12]_to_(q|k|v|out_0)|ff_net_0_proj|ff_net_2)"


@pytest.fixture
def config():
    return LoraConfig(rank=RANK, text_encoder=True)


@pytest.fixture
def factors(pipe, config):
    """A and B of all layers, far from nothing."""
    layers = {name: tuple(layer.weight.shape) for name, layer in target_layers(pipe, config.targets).items()}
    generator = torch.Generator().manual_seed(0)
    shapes = lora_shapes(layers, RANK)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_every_name_is_one_that_the_webui_and_kohya_know(factors):
    for name in kohya_lora(factors, RANK):
        layer, _, kind = name.partition(".")
        assert kind in {"lora_down.weight", "lora_up.weight", "alpha"}
        assert any(re.fullmatch(pattern, layer) for pattern in NAMES), name
        if layer.startswith("lora_unet"):
            ends = RESNET if "resnets" in layer else ATTENTION
            assert re.fullmatch(rf"lora_unet_.*(resnets|attentions)_\d+_({ends})", layer), name


def test_every_layer_has_both_factors_and_alpha(factors):
    tensors = kohya_lora(factors, RANK)
    layers = {name.partition(".")[0] for name in tensors}
    assert len(tensors) == 3 * len(layers)
    assert len(layers) == len(factors) / 2
    assert all(tensors[f"{layer}.alpha"].item() == RANK for layer in layers)


@pytest.mark.numerical
@pytest.mark.parametrize("alpha", [4, 8, 1])
def test_diffusers_loads_the_file_with_the_same_strength(pipe, config, factors, alpha, tmp_path):
    path = tmp_path / "lora.safetensors"
    write_safetensors(kohya_lora(factors, alpha), path, {})
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    plain.load_lora_weights(path)
    plain.fuse_lora()
    plain.unload_lora_weights()
    merged, own = target_layers(plain, config.targets), target_layers(pipe, config.targets)
    for name, layer in own.items():
        down, up = (factors[key] for key in lora_keys(name))
        delta = (up.flatten(1) @ down.flatten(1)).view(layer.weight.shape)
        torch.testing.assert_close(merged[name].weight, layer.weight + alpha / RANK * delta, atol=1e-6, rtol=1e-6)


@pytest.fixture
def record(tmp_path, config, write_adapter_record):
    write_adapter_record(tmp_path, config, {"source": "tiny", "sha256": "a" * 64})
    return AdapterRecord.read(tmp_path)


def test_the_metadata_are_those_of_kohya(record, factors, tmp_path):
    tensors = kohya_lora(factors, RANK)
    found = metadata(record, "demo-df", tensors)
    assert found["ss_network_module"] == "networks.lora"
    assert found["ss_network_dim"] == found["ss_network_alpha"] == "4"
    assert json.loads(found["ss_network_args"]) == {"conv_alpha": "4", "conv_dim": "4"}
    assert json.loads(found["ss_tag_frequency"]) == {"df": {"dermoscopy of a dermatofibroma": 1}}
    assert "ss_v2" not in found  # neither 768 nor 1024 wide
    write_safetensors(tensors, tmp_path / "a.safetensors", found)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == found


@pytest.mark.parametrize(("width", "expected"), [(768, {"ss_v2": "False"}), (1024, {"ss_v2": "True"}), (640, {})])
def test_the_width_of_the_prompt_tells_the_version(record, width, expected):
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
    found = metadata(record, "x", {name: torch.zeros(4, width)})
    assert {key: value for key, value in found.items() if key == "ss_v2"} == expected


def test_a_file_has_the_same_bytes_whatever_the_order_of_its_metadata(factors, tmp_path):
    tensors, pairs = kohya_lora(factors, RANK), {f"ss_{n}": str(n) for n in range(20)}
    write_safetensors(tensors, tmp_path / "a", pairs)
    write_safetensors(dict(reversed(tensors.items())), tmp_path / "b", dict(reversed(pairs.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(tmp_path / "a").items())
