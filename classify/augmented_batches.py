"""Batches of augmented training images: by albumentations one image after another, or whole batches on the device.

Images stay 8-bit: a memory map of the pixel cache, or a copy in a GPU's memory if they fit.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from classify import augmentation
from classify.device import free_bytes
from classify.model import normalise
from data.train_views import Augmentation, train_augmentation

Place = Literal["auto", "cpu", "device"]
Batch = Callable[[Int[np.ndarray, " n"]], Float[Tensor, "n 3 size size"]]

_MOST_MEMORY = 0.5  # share of the free memory that images may take


class AugmentedBatches(Protocol):
    """Augmented batches of a training's images."""

    def seeded(self, seed: int) -> Batch:
        """A function from rows to a batch; its n-th batch after a seed is always the same."""


def augmented_batches(
    pixels: UInt8[np.ndarray, "n size size 3"],
    network: nn.Module,
    place: Place,
    kind: Augmentation = "light",
    *,
    compiled: bool,
) -> AugmentedBatches:
    """The augmented batches for a network on its device.

    "auto" is albumentations for a network on the CPU, and for augmentation that only albumentations has.
    """
    device = next(network.parameters()).device
    if kind == "light" and (place == "device" or (place == "auto" and device.type != "cpu")):
        return GpuAugment(pixels, network, compiled=compiled)
    return CpuAugment(pixels, network, kind)


class CpuAugment:
    """Augmented by albumentations, on the CPU."""

    def __init__(
        self, pixels: UInt8[np.ndarray, "n size size 3"], network: nn.Module, kind: Augmentation = "light"
    ) -> None:
        self.pixels, self.network, self.kind = pixels, network, kind

    def seeded(self, seed: int) -> Batch:
        """Begin a stream of batches."""
        augment = train_augmentation(self.pixels.shape[1], seed, self.kind)
        return lambda rows: normalise(np.stack([augment(self.pixels[row]) for row in rows]), self.network)


class GpuAugment:
    """Augmented in batches on the network's device; the images are kept there too, if they fit."""

    def __init__(
        self, pixels: UInt8[np.ndarray, "n size size 3"], network: nn.Module, *, compiled: bool = False
    ) -> None:
        self.device = next(network.parameters()).device
        held = torch.from_numpy(np.ascontiguousarray(pixels))
        self.images = held.to(self.device) if _fits(held, self.device) else held
        own = cast("Any", network).pretrained_cfg
        mean, deviation = (torch.tensor(own[name], device=self.device)[:, None, None] for name in ("mean", "std"))
        self._scale, self._shift = 1 / (255 * deviation), -mean / deviation
        self._augment = torch.compile(augmentation.augment) if compiled else augmentation.augment

    def seeded(self, seed: int) -> Batch:
        """Begin a stream of batches."""
        generator, size = torch.Generator().manual_seed(seed), self.images.shape[1]

        def batch(rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n 3 size size"]:
            parameters = augmentation.sample_parameters(len(rows), size, generator).to(self.device)
            chosen = self.images[torch.from_numpy(rows).to(self.images.device)].to(self.device, non_blocking=True)
            levels = self._augment(chosen, parameters)
            return torch.addcmul(self._shift, levels, self._scale).contiguous(memory_format=torch.channels_last)

        return batch


def _fits(images: Tensor, device: torch.device) -> bool:
    free = free_bytes(device)
    return free is None or images.nbytes <= _MOST_MEMORY * free
