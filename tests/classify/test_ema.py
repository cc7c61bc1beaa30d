import copy

import pytest
import torch
from torch import nn

from classify.ema import EMA

pytestmark = pytest.mark.numerical


def trained():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)


def moved(network):
    """Change the network in place, as an optimiser does."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    network(torch.randn(2, 3, 8, 8))  # its statistics and their counter with it


def test_the_average_is_the_sum_of_its_definition_bit_by_bit():
    network = trained()
    averaged = copy.deepcopy(network)
    expected = copy.deepcopy(averaged.state_dict())
    ema = EMA(averaged, network, 0.7)
    for step in range(1, 40):
        moved(network)
        ema.update(step)
        share = 1 - min(0.7, step / (step + 10))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected[name].lerp_(value, share)
            else:
                expected[name] = value
    assert all(torch.equal(value, expected[name]) for name, value in averaged.state_dict().items())
    assert averaged[1].num_batches_tracked == 39


def test_a_network_that_is_its_own_average_is_left_alone():
    network = trained()
    before = copy.deepcopy(network.state_dict())
    EMA(network, network, 0).update(1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
