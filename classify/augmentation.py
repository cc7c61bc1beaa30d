"""The augmentation of `data.train_views` as operations on a whole batch, for GPUs.

Same operations and distributions, other random numbers. Parameters are sampled on the CPU, so that a seed gives the
same images on every device, within a grey level.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from data.train_views import AREA, BRIGHTNESS, COLOUR_CHANCE, CONTRAST, HUE, LIGHT_CHANCE, RATIO, SATURATION

_TRIES = 10  # of a crop that fits; then the whole image is taken


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Augmentation parameters of a batch, a row for each image."""

    turned: Bool[Tensor, "n 3"]  # transposed; then upside down; then left to right
    box: Float[Tensor, "n 4"]  # top, left, height and width of the crop in the turned image; whole pixels
    contrast: Float[Tensor, " n"]  # factor
    brightness: Float[Tensor, " n"]  # levels added afterwards
    hue: Float[Tensor, " n"]  # added, of 180 as OpenCV counts
    saturation: Float[Tensor, " n"]  # whole levels added

    def to(self, device: torch.device) -> Parameters:
        """The same on a device."""
        return Parameters(**{field.name: getattr(self, field.name).to(device) for field in dataclasses.fields(self)})


def sample_parameters(n: int, size: int, generator: torch.Generator) -> Parameters:
    """Sample the parameters of `n` images of `size` pixels a side."""
    lit = torch.rand(n, generator=generator) < LIGHT_CHANCE
    coloured = torch.rand(n, generator=generator) < COLOUR_CHANCE
    contrast = _between(-CONTRAST, CONTRAST, (n,), generator)
    brightness = _between(-BRIGHTNESS, BRIGHTNESS, (n,), generator)
    return Parameters(
        turned=torch.rand(n, 3, generator=generator) < 0.5,  # noqa: PLR2004 - each of the eight alike
        box=_boxes(n, size, generator),
        contrast=1 + contrast * lit,
        brightness=255 * brightness * lit,
        hue=_between(-HUE, HUE, (n,), generator) * coloured,
        saturation=_between(-SATURATION, SATURATION, (n,), generator).trunc() * coloured,
    )


def augment(images: UInt8[Tensor, "n size size 3"], parameters: Parameters) -> Float[Tensor, "n 3 size size"]:
    """Turn, crop and colour a batch; gives whole levels from 0 to 255."""
    return jitter_colour(crop(images, parameters), parameters)


def crop(images: UInt8[Tensor, "n size size 3"], parameters: Parameters) -> Float[Tensor, "n 3 size size"]:
    """Turn and crop in one bilinear sampling: each output pixel is looked up where it lies in the image."""
    size = images.shape[1]
    top, left, height, width = parameters.box[:, :, None].unbind(1)
    centres = (torch.arange(size, device=images.device) + 0.5) / size
    down = top + (centres * height - 0.5).clamp_min(0).minimum(height - 1)  # edges repeat at the crop's, not beyond
    right = left + (centres * width - 0.5).clamp_min(0).minimum(width - 1)
    transposed, flipped, mirrored = parameters.turned[:, :, None].unbind(1)
    down, right = torch.where(flipped, size - 1 - down, down), torch.where(mirrored, size - 1 - right, right)
    rows, columns = down[:, :, None].expand(-1, -1, size), right[:, None, :].expand(-1, size, -1)
    place = torch.where(
        transposed[..., None, None], torch.stack([rows, columns], dim=-1), torch.stack([columns, rows], dim=-1)
    )
    levels = images.permute(0, 3, 1, 2).float()
    grid = place * (2 / (size - 1)) - 1  # -1 and 1 are the centres of the outermost pixels
    return functional.grid_sample(levels, grid, padding_mode="border", align_corners=True).round()


def jitter_colour(levels: Float[Tensor, "n 3 h w"], parameters: Parameters) -> Float[Tensor, "n 3 h w"]:
    """Change contrast and brightness, then hue and saturation; grey stays grey."""
    contrast, brightness, hue, saturation = (
        each[:, None, None, None]
        for each in (parameters.contrast, parameters.brightness, parameters.hue, parameters.saturation)
    )
    lit = (levels * contrast + brightness).clamp(0, 255).floor()  # as albumentations rounds
    value, chroma = lit.amax(1, keepdim=True), lit.amax(1, keepdim=True) - lit.amin(1, keepdim=True)
    sector = _sector(lit, value, chroma) + hue / 30  # of the six of the colour wheel
    full = (chroma / value.clamp_min(1) + saturation / 255).clamp(0, 1)
    spread = torch.where(chroma > 0, value * full, 0)
    k = (sector + torch.tensor([5.0, 3.0, 1.0], device=levels.device)[:, None, None]) % 6
    return (value - spread * torch.minimum(k, 4 - k).clamp(0, 1)).round()


def _sector(
    levels: Float[Tensor, "n 3 h w"], value: Float[Tensor, "n 1 h w"], chroma: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, "n 1 h w"]:
    """Hue in sixths of the wheel, from red over green to blue; 0 for grey."""
    red, green, blue = levels[:, :1], levels[:, 1:2], levels[:, 2:]
    width = chroma.clamp_min(1)
    of_green = torch.where(value == green, (blue - red) / width + 2, (red - green) / width + 4)
    return torch.where(value == red, (green - blue) / width, of_green)


def _boxes(n: int, size: int, generator: torch.Generator) -> Float[Tensor, "{n} 4"]:
    """A crop each: area and shape are sampled until they fit, then the position."""
    area = _between(AREA[0], AREA[1], (n, _TRIES), generator) * size**2
    ratio = _between(math.log(RATIO[0]), math.log(RATIO[1]), (n, _TRIES), generator).exp()
    whole = torch.full((n, 1), float(size))
    width = torch.cat([(area * ratio).sqrt().round(), whole], dim=1)
    height = torch.cat([(area / ratio).sqrt().round(), whole], dim=1)
    first = ((width <= size) & (height <= size)).int().argmax(dim=1, keepdim=True)
    sides = torch.cat([height.gather(1, first), width.gather(1, first)], dim=1)
    corner = (torch.rand(n, 2, generator=generator) * (size - sides + 1)).floor()
    return torch.cat([corner, sides], dim=1)


def _between(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
