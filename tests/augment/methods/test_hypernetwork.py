import copy

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from augment.base.param_count import base_parts
from augment.diffusion.conditioning import Conditioning, encode_prompt
from augment.methods.hypernetwork import FILE, HypernetworkAdapter, HypernetworkConfig
from augment.methods.hypernetwork_files import read_hypernetwork, write_webui_hypernetwork
from augment.methods.module_trainable import trained_parameters
from data.errors import BaseError

pytestmark = pytest.mark.numerical

CONFIGS = [
    HypernetworkConfig(),
    HypernetworkConfig(layer_structure=(1, 2, 2, 1), activation="relu", layer_norm=True, dropout=0.3),
]


@pytest.fixture(params=CONFIGS, ids=["linear", "deep"])
def config(request):
    return request.param


@pytest.fixture
def trainable(pipe, config):
    return config.trainable(pipe, pipe.device)


@pytest.fixture
def adapter(trainable, config, tmp_path):
    """Networks that are far from nothing, bound and saved."""
    parameters = trainable.parameters(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters.values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    trainable.bind([parameters])
    assert trainable.save(parameters, tmp_path / "adapter") == tmp_path / "adapter" / FILE
    return config.adapter(tmp_path / "adapter")


def noise_pred(pipe):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)
        return pipe.unet(latents, torch.tensor([10, 900]), embeds).sample


@pytest.mark.parametrize(
    "weight_init", ["normal", "xavier-uniform", "xavier-normal", "kaiming-uniform", "kaiming-normal"]
)
def test_training_starts_from_the_base_and_every_layer_can_learn(pipe, weight_init):
    config = HypernetworkConfig(activation="leakyrelu", weight_init=weight_init)
    trainable = config.trainable(pipe, pipe.device)
    start = trainable.parameters(0)
    trainable.bind([start])
    assert torch.equal(noise_pred(trainable.pipe), noise_pred(pipe))
    assert all(start[name].any() == name.endswith("linear.0.weight") for name in start)
    again, other = trainable.parameters(0), trainable.parameters(1)
    assert all(torch.equal(value, again[name]) for name, value in start.items())
    assert any(not torch.equal(value, other[name]) for name, value in start.items())


def test_only_the_networks_are_trained_and_the_base_is_left_alone(base, pipe, config):
    before = copy.deepcopy(pipe.unet.state_dict())
    trainable = config.trainable(pipe, pipe.device)
    parameters = trainable.parameters(0)
    trainable.bind([parameters])
    assert trained_parameters(trainable.pipe).keys() == parameters.keys()
    assert sum(each.numel() for each in parameters.values()) == config.trained_params(base_parts(base, 32))
    embeds = encode_prompt(pipe, "dermoscopy of a melanoma").clone()
    trainable.denoise(torch.ones(1, 8, 4, 4), torch.tensor([500]), Conditioning(embeds)).sum().backward()
    assert all(parameter.grad is not None for parameter in parameters.values())
    assert before.keys() == pipe.unet.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())
    assert not any(module._forward_pre_hooks for module in pipe.unet.modules())


def test_what_was_saved_comes_back_to_the_bit(pipe, trainable, adapter, with_adapter):
    back = noise_pred(with_adapter(pipe, adapter))
    assert torch.equal(back, noise_pred(trainable.pipe))
    assert not torch.allclose(back, noise_pred(pipe), atol=1e-3)
    assert "32.k.linear.0.weight" in load_file(adapter.file)


def test_the_web_ui_s_file_of_it_does_the_same(pipe, adapter, with_adapter, tmp_path):
    shape, tensors = read_hypernetwork(adapter.file)
    other = HypernetworkAdapter(write_webui_hypernetwork(tensors, shape, tmp_path / "a.pt"), shape, widths=(32,))
    assert torch.equal(noise_pred(with_adapter(pipe, other)), noise_pred(with_adapter(pipe, adapter)))


def test_the_settings_of_another_adapter_are_refused(pipe, adapter, with_adapter):
    for other in (HypernetworkConfig(activation="tanh"), HypernetworkConfig(layer_structure=(1, 3, 1))):
        with pytest.raises(BaseError, match="has other layers than its settings say"):
            with_adapter(pipe, other.adapter(adapter.file.parent))


def test_networks_for_other_widths_are_refused(pipe, adapter, with_adapter):
    with pytest.raises(BaseError, match="tensors missing"):
        with_adapter(pipe, HypernetworkAdapter(adapter.file, adapter.shape, widths=(16, 32)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_structure": (1, 2)}, "begins and ends with 1"),
        ({"activation": "gelu"}, "activation"),
        ({"text_encoder": True}, "a hypernetwork is of the UNet alone"),
        ({"dropout": 0.3, "gradient_accumulation_steps": 2}, "set gradient_accumulation_steps to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        HypernetworkConfig(**values)
