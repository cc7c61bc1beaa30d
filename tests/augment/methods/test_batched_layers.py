import pytest
import torch
from torch import nn

from augment.methods.batched_layers import Stacked
from augment.methods.lora import product

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
    """A frozen layer in double precision, what it is given, and three classes' factors."""
    layer, shape = LAYERS[request.param]
    layer = layer.double().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(0)
    out, into, *kernel = layer.weight.shape
    down = torch.randn(CLASSES, RANK, into, *kernel, generator=generator, dtype=torch.double)
    up = torch.randn(CLASSES, out, RANK, *(1 for _ in kernel), generator=generator, dtype=torch.double)
    given = torch.randn(shape, generator=generator, dtype=torch.double)
    return layer, given.requires_grad_(), down.requires_grad_(), up.requires_grad_()


def merged(layer, given, down, up):
    """Each class's part through the layer with B A added to its weight."""
    said = []
    for part, a, b in zip(given.chunk(CLASSES), down, up, strict=True):
        weights = {"weight": layer.weight + product(b, a)}
        said.append(torch.func.functional_call(layer, weights, part))
    return torch.cat(said)


@pytest.mark.parametrize("last", [False, True], ids=["as it comes", "channels last"])
def test_outputs_and_gradients_are_those_of_merged_weights(case, last):
    layer, given, down, up = case
    stacked = Stacked(layer)
    stacked.bear(down, up)
    laid = given.contiguous(memory_format=torch.channels_last) if last and given.dim() == 4 else given
    said, expected = stacked(laid), merged(layer, given, down, up)
    torch.testing.assert_close(said, expected)
    weights = torch.randn(said.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), (given, down, up)) for one in (said, expected))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other)


def test_the_first_layer_s_input_asks_for_no_gradient(case):
    layer, given, down, up = case
    stacked = Stacked(layer)
    stacked.bear(down, up)
    grads = torch.autograd.grad(stacked(given.detach()).square().sum(), (down, up))
    expected = torch.autograd.grad(merged(layer, given.detach(), down, up).square().sum(), (down, up))
    for own, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_a_class_that_is_not_a_number_leaves_the_others_alone(case):
    layer, given, down, up = case
    stacked = Stacked(layer)
    stacked.bear(down, up)
    clean = torch.autograd.grad(stacked(given).square().sum(), (given, down, up))
    spoilt = up.detach().clone()
    spoilt[1] = torch.nan
    stacked.bear(down, spoilt.requires_grad_())
    found = torch.autograd.grad(stacked(given).square().sum(), (given, down, spoilt))
    for own, other in zip(found, clean, strict=True):
        parts, others = own.chunk(CLASSES), other.chunk(CLASSES)
        torch.testing.assert_close(parts[0], others[0])
        torch.testing.assert_close(parts[2], others[2])
        assert torch.isnan(parts[1]).any()


def test_without_factors_it_is_the_layer(case):
    layer, given, _, _ = case
    assert torch.equal(Stacked(layer)(given), layer(given))


def test_a_convolution_that_no_update_is_written_for_is_refused():
    with pytest.raises(ValueError, match="has groups"):
        Stacked(nn.Conv2d(4, 4, 3, groups=2))
