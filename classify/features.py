"""Features of images, the inputs of a network's last layer, by which sets of images are compared.

The network has to suit the images: for phantoms it is the oracle, for photographs one trained on ImageNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from classify.device import default_device
from classify.embedded import ARCHITECTURE as EMBEDDED
from classify.embedded import PHANTOMS
from classify.lite0 import ARCHITECTURE, LITE0_PACKAGE, lite0_file
from classify.model import build, in_batches, load
from classify.weights import weights_identity
from data.errors import BaseError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A network, and the pixels that it takes; calling it gives the inputs of its last layer."""

    name: str  # as a table of figures names it
    network: nn.Module
    pixels: PixelConfig

    def __call__(self, images: Manifest, cache: Path | None = None) -> Float[np.ndarray, "n width"]:
        """Features of a manifest's images, in row order, read by `data.pixels`."""
        return features(self.network, load_pixels(images, self.pixels, cache))


def oracle_features(model: Path) -> Extractor:
    """The features of a saved classifier, such as the oracle of phantoms."""
    kept = load(model)
    return Extractor(name="the oracle's last features", network=kept.network.to(default_device()), pixels=kept.pixels)


@dataclass(frozen=True, kw_only=True)
class KnownFeatures:
    """Weights at hand that no download is needed for."""

    name: str  # as the report names the features
    weights: str  # as `classify.model.build` takes them
    architecture: str
    identity: str  # SHA-256 of the weights

    def extractor(self, pixels: PixelConfig) -> Extractor:
        """The features themselves."""
        network = build(self.weights, 2, architecture=self.architecture).to(default_device()).eval()
        return Extractor(name=self.name, network=network, pixels=pixels)


_KNOWN = {  # weights -> architecture, and the name of its features
    PHANTOMS: (EMBEDDED, "EfficientNet-B0, trained on phantoms (embedded)"),
    LITE0_PACKAGE: (ARCHITECTURE, "EfficientNet-Lite0, trained on ImageNet"),
}


def known_features(*, phantoms: bool) -> KnownFeatures | None:
    """The features that a study's sets of images are compared by; None: no network is at hand.

    The embedded start's for `phantoms`, those of a network trained on ImageNet for photographs, where it is installed.
    """
    for weights in (PHANTOMS, LITE0_PACKAGE) if phantoms else (LITE0_PACKAGE, PHANTOMS):
        architecture, name = _KNOWN[weights]
        try:
            identity = weights_identity(weights)
        except (BaseError, OSError):
            continue
        return KnownFeatures(name=name, weights=weights, architecture=architecture, identity=identity)
    return None


def imagenet_features(pixels: PixelConfig) -> Extractor:
    """The features of a network trained on ImageNet: the lite0 package's if it is installed, else the hub's.

    Raises BaseError if neither is available.
    """
    try:
        lite0_file()
        network, name = build(LITE0_PACKAGE, 2, architecture=ARCHITECTURE), f"{ARCHITECTURE}, trained on ImageNet"
    except BaseError:
        network, name = build("pretrained", 2), "efficientnet_b0, timm's pretrained weights"
    return Extractor(name=f"{name}, at {pixels.size} px", network=network.to(default_device()).eval(), pixels=pixels)


def features(
    network: nn.Module, pixels: UInt8[np.ndarray, "n h w 3"], batch_size: int | None = None
) -> Float[np.ndarray, "n width"]:
    """Inputs of a timm network's last layer for each image, in evaluation mode; the mode is restored afterwards."""
    own = cast("Any", network)

    def before_the_last(images: Tensor) -> Tensor:
        features: Tensor = own.forward_head(own.forward_features(images), pre_logits=True)
        return features

    found: Float[np.ndarray, "n width"] = in_batches(network, before_the_last, pixels, batch_size).numpy()
    return found
