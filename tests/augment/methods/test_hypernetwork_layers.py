import copy

import pytest
import torch
from torch import nn

from augment.methods.hypernetwork_layers import (
    ACTIVATIONS,
    HypernetworkModule,
    HypernetworkShape,
    attention_layers,
    attention_widths,
    hypernetwork_weights,
    install_hypernetwork,
)
from augment.methods.weights import with_parts

SHAPES = [
    HypernetworkShape(),
    HypernetworkShape(layer_structure=(1, 2, 2, 1), activation="relu", layer_norm=True, dropout=(0, 0.3, 0.3, 0)),
    HypernetworkShape(activation="sigmoid", activate_output=True),
]


@pytest.fixture
def own(pipe):
    return with_parts(pipe, unet=copy.deepcopy(pipe.unet))


def noise_pred(unet):
    generator = torch.Generator().manual_seed(0)
    latents, embeds = (torch.randn(2, *shape, generator=generator) for shape in ((8, 4, 4), (16, 32)))
    with torch.no_grad():
        return unet(latents, torch.tensor([10, 900]), embeds).sample


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_installed_changes_nothing_until_it_is_filled(pipe, own, shape):
    install_hypernetwork(own, shape)
    expected = noise_pred(pipe.unet)
    assert torch.equal(noise_pred(own.unet), expected)
    state = own.unet.state_dict()
    for name in hypernetwork_weights(own):
        tensor = state[name.removeprefix("unet.")]
        assert not tensor.any()
        tensor.copy_(torch.ones(()) if name.endswith("multiplier") else torch.full(tensor.shape, 0.1))
    assert not torch.allclose(noise_pred(own.unet), expected, atol=1e-3)
    for name in hypernetwork_weights(own):
        state[name.removeprefix("unet.")].zero_()
    assert torch.equal(noise_pred(own.unet), expected)
    assert not any("hypernetwork" in name for name in pipe.unet.state_dict())


def test_keys_and_values_of_every_attention_are_changed_by_their_width(own):
    install_hypernetwork(own, HypernetworkShape())
    networks = own.unet.hypernetwork
    assert attention_widths(own.unet) == [32]
    assert [*networks] == ["32"]
    with torch.no_grad():
        for kind, constant in (("k", 2.0), ("v", 3.0)):
            networks["32"][kind].linear[1].bias.fill_(constant)
            networks["32"][kind].multiplier.fill_(1)
    assert len(attention_layers(own.unet)) == 2 * sum(p.endswith("to_q") for p, _ in own.unet.named_modules())
    for path, layer in attention_layers(own.unet).items():
        inputs = torch.randn(1, 2, 32)
        expected = nn.functional.linear(inputs + (2.0 if path.endswith("k") else 3.0), layer.weight, layer.bias)
        torch.testing.assert_close(layer(inputs), expected)


def test_only_the_widths_that_are_named_get_networks(own):
    install_hypernetwork(own, HypernetworkShape(), widths=[16])
    assert [*own.unet.hypernetwork] == ["16"]
    assert not any(layer._forward_pre_hooks for layer in attention_layers(own.unet).values())


def test_a_copy_of_the_unet_has_networks_of_its_own(own):
    install_hypernetwork(own, HypernetworkShape())
    other, before = copy.deepcopy(own.unet), noise_pred(own.unet)
    with torch.no_grad():
        for parameter in other.hypernetwork.parameters():
            parameter.fill_(0.1)
        for multiplier in other.hypernetwork.buffers():
            multiplier.fill_(1)
    assert torch.equal(noise_pred(own.unet), before)
    assert not torch.allclose(noise_pred(other), before, atol=1e-3)


def test_layers_are_numbered_as_the_web_ui_numbers_them():
    shape = HypernetworkShape(layer_structure=(1, 2, 2, 1), activation="swish", layer_norm=True, dropout=(0, 0.3, 0, 0))
    network = HypernetworkModule(8, shape)
    kinds = [type(layer).__name__.lstrip("_") for layer in network.linear]
    first = ["Linear", "Hardswish", "LayerNorm", "Dropout"]
    assert kinds == [*first, "Linear", "Hardswish", "LayerNorm", "Linear", "LayerNorm"]
    assert shape.param_count(8) == 2 * sum(parameter.numel() for parameter in network.parameters())


def test_dropout_drops_where_gradients_are_computed_alone():
    network = HypernetworkModule(8, HypernetworkShape(dropout=(0, 0.5, 0)))
    with torch.no_grad():
        network.multiplier.fill_(1)
        for parameter in network.parameters():  # each unit says something else, so that two draws show
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        inputs = torch.ones(1, 8)
        assert torch.equal(network(inputs), network(inputs))
    assert not torch.equal(network(inputs), network(inputs))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_structure": (1, 2)}, "begins and ends with 1"),
        ({"layer_structure": (1,)}, "begins and ends with 1"),
        ({"activation": "gelu"}, f"none of {', '.join(ACTIVATIONS)}"),
        ({"dropout": (0, 0.5)}, "a share below 1 for each"),
        ({"dropout": (0, 1.0, 0)}, "a share below 1 for each"),
    ],
)
def test_layers_that_cannot_be_built_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        HypernetworkShape(**values)
