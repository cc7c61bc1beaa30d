"""How the images of a training come to the network: by albumentations one after another, or in batches on the device.

Images stay what the cache holds, bytes: a map of its file, or on a GPU with the room, its memory.
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
from data.train_views import train_augmentation

Place = Literal["auto", "cpu", "device"]
Batch = Callable[[Int[np.ndarray, " n"]], Float[Tensor, "n 3 size size"]]

_ROOM = 0.5  # share of the free memory that images may take


class Views(Protocol):
    """Random views of a training's images."""

    def seeded(self, seed: int) -> Batch:
        """Give what makes batches of views from now on: the n-th batch after a seed is always the same."""


def views_of(pixels: UInt8[np.ndarray, "n size size 3"], network: nn.Module, where: Place, *, compiled: bool) -> Views:
    """Choose how views are made for a network on its device; "auto" is the processor where there is no other."""
    on = next(network.parameters()).device
    if where == "device" or (where == "auto" and on.type != "cpu"):
        return OnDevice(pixels, network, compiled=compiled)
    return OneByOne(pixels, network)


class OneByOne:
    """Views by albumentations, on the processor."""

    def __init__(self, pixels: UInt8[np.ndarray, "n size size 3"], network: nn.Module) -> None:
        self.pixels, self.network = pixels, network

    def seeded(self, seed: int) -> Batch:
        """Begin a stream of views."""
        view = train_augmentation(self.pixels.shape[1], seed)
        return lambda rows: normalise(np.stack([view(self.pixels[row]) for row in rows]), self.network)


class OnDevice:
    """Views in batches, where the network is; the images too, if there is room."""

    def __init__(
        self, pixels: UInt8[np.ndarray, "n size size 3"], network: nn.Module, *, compiled: bool = False
    ) -> None:
        self.on = next(network.parameters()).device
        held = torch.from_numpy(np.ascontiguousarray(pixels))
        self.images = held.to(self.on) if _fits(held, self.on) else held
        own = cast("Any", network).pretrained_cfg
        mean, deviation = (torch.tensor(own[name], device=self.on)[:, None, None] for name in ("mean", "std"))
        self._scale, self._shift = 1 / (255 * deviation), -mean / deviation
        self._views = torch.compile(augmentation.views) if compiled else augmentation.views

    def seeded(self, seed: int) -> Batch:
        """Begin a stream of views."""
        generator, size = torch.Generator().manual_seed(seed), self.images.shape[1]

        def batch(rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n 3 size size"]:
            drawn = augmentation.draw(len(rows), size, generator).to(self.on)
            chosen = self.images[torch.from_numpy(rows).to(self.images.device)].to(self.on, non_blocking=True)
            levels = self._views(chosen, drawn)
            return torch.addcmul(self._shift, levels, self._scale).contiguous(memory_format=torch.channels_last)

        return batch


def _fits(images: Tensor, on: torch.device) -> bool:
    free = free_bytes(on)
    return free is None or images.nbytes <= _ROOM * free
