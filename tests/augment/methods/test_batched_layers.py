import pytest
import torch
from torch import nn

from augment.methods.batched_layers import BatchedLoraConv2d, BatchedLoraLinear, batched_lora_layer
from augment.methods.lora_layers import lora_delta

pytestmark = pytest.mark.numerical

CLASSES, RANK = 3, 2
LAYERS = {
    "linear": (nn.Linear(5, 4), (6, 7, 5)),
    "linear without bias": (nn.Linear(5, 4, bias=False), (6, 5)),
    "1 x 1": (nn.Conv2d(5, 4, 1), (6, 5, 3, 3)),
    "3 x 3": (nn.Conv2d(5, 4, 3, padding=1), (6, 5, 4, 4)),
    "3 x 3, strided": (nn.Conv2d(5, 4, 3, padding=1, stride=2, bias=False), (6, 5, 6, 4)),
}


@pytest.fixture(params=LAYERS)
def case(request):
    """A frozen layer in double precision, its inputs, and A and B of three classes."""
    layer, shape = LAYERS[request.param]
    layer = layer.double().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(0)
    out, into, *kernel = layer.weight.shape
    down = torch.randn(CLASSES, RANK, into, *kernel, generator=generator, dtype=torch.double)
    up = torch.randn(CLASSES, out, RANK, *(1 for _ in kernel), generator=generator, dtype=torch.double)
    inputs = torch.randn(shape, generator=generator, dtype=torch.double)
    return layer, inputs.requires_grad_(), down.requires_grad_(), up.requires_grad_()


def merged(layer, inputs, down, up):
    """Each class's part through the layer with B A added to its weight."""
    outputs = []
    for part, a, b in zip(inputs.chunk(CLASSES), down, up, strict=True):
        weights = {"weight": layer.weight + lora_delta(b, a)}
        outputs.append(torch.func.functional_call(layer, weights, part))
    return torch.cat(outputs)


@pytest.mark.parametrize("last", [False, True], ids=["as it comes", "channels last"])
def test_outputs_and_gradients_are_those_of_merged_weights(case, last):
    layer, inputs, down, up = case
    batched = batched_lora_layer(layer)
    batched.set_adapters(down, up)
    laid = inputs.contiguous(memory_format=torch.channels_last) if last and inputs.dim() == 4 else inputs
    out, expected = batched(laid), merged(layer, inputs, down, up)
    torch.testing.assert_close(out, expected)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), (inputs, down, up)) for one in (out, expected))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other)


def test_the_first_layer_s_input_asks_for_no_gradient(case):
    layer, inputs, down, up = case
    batched = batched_lora_layer(layer)
    batched.set_adapters(down, up)
    grads = torch.autograd.grad(batched(inputs.detach()).square().sum(), (down, up))
    expected = torch.autograd.grad(merged(layer, inputs.detach(), down, up).square().sum(), (down, up))
    for own, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_a_class_that_is_not_a_number_leaves_the_others_alone(case):
    layer, inputs, down, up = case
    batched = batched_lora_layer(layer)
    batched.set_adapters(down, up)
    clean = torch.autograd.grad(batched(inputs).square().sum(), (inputs, down, up))
    spoilt = up.detach().clone()
    spoilt[1] = torch.nan
    batched.set_adapters(down, spoilt.requires_grad_())
    found = torch.autograd.grad(batched(inputs).square().sum(), (inputs, down, spoilt))
    for own, other in zip(found, clean, strict=True):
        parts, others = own.chunk(CLASSES), other.chunk(CLASSES)
        torch.testing.assert_close(parts[0], others[0])
        torch.testing.assert_close(parts[2], others[2])
        assert torch.isnan(parts[1]).any()


def test_without_adapters_it_is_the_layer(case):
    layer, inputs, _, _ = case
    assert torch.equal(batched_lora_layer(layer)(inputs), layer(inputs))


def test_a_convolution_that_batched_lora_does_not_support_is_refused():
    with pytest.raises(ValueError, match="has groups"):
        batched_lora_layer(nn.Conv2d(4, 4, 3, groups=2))


def test_each_kind_of_layer_has_its_batched_form():
    assert isinstance(batched_lora_layer(nn.Linear(2, 2)), BatchedLoraLinear)
    assert isinstance(batched_lora_layer(nn.Conv2d(2, 2, 3)), BatchedLoraConv2d)
