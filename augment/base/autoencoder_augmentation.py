"""Augmentations of the autoencoder's training images.

It has to code colours and shapes beyond those of its training set: a rare class may have purple lacunae where all
the common ones are brown. So hues are rotated, and ellipses of any colour laid over, at random.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def random_flip_and_turn(
    pixels: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Flip the whole batch or not, and turn it by a multiple of 90 degrees."""
    flips, turns = torch.randint(2, (1,), generator=generator), torch.randint(4, (1,), generator=generator)
    return torch.rot90(pixels.flip(3) if flips else pixels, int(turns), (2, 3))


def color_jitter(
    pixels: Float[Tensor, "n 3 height width"], share: float, generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Change hue and saturation of a share of the images."""
    matrices = torch.stack([_hue_matrix(generator, share) for _ in range(len(pixels))])
    return torch.einsum("nij,njhw->nihw", matrices, pixels).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def dead_leaves(
    pixels: Float[Tensor, "n 3 height width"], share: float, generator: torch.Generator, n_max: int = 12
) -> Float[Tensor, "n 3 height width"]:
    """Lay up to `n_max` ellipses of any size, colour and opacity over a share of the images.

    The statistics of such "dead leaves" images are close to those of photographs (Lee, Mumford and Huang,
    Int. J. Comput. Vis. 41, 2001; Baradad et al., NeurIPS 2021).
    """
    n, _, height, width = pixels.shape
    score, centre_y, centre_x, size, flatness, angle, opacity, hardness = torch.rand((8, n, n_max), generator=generator)
    colours = 2 * torch.rand((n_max, n, 3, 1, 1), generator=generator) - 1
    present = score < torch.rand((n, 1), generator=generator) * (torch.rand((n, 1), generator=generator) < share)
    radius = height / 4 * 16**-size  # a quarter of the image to a sixty-fourth, log-uniform
    dy = torch.arange(height)[:, None] - (centre_y * height)[..., None, None]
    dx = torch.arange(width) - (centre_x * width)[..., None, None]
    cos, sin = (f(math.pi * angle)[..., None, None] for f in (torch.cos, torch.sin))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx  # along the axes of the ellipse
    distance = (u.square() + (v * (1 + 2 * flatness[..., None, None])).square()).sqrt()
    inside = torch.sigmoid((radius[..., None, None] - distance) * (0.5 + 3 * hardness[..., None, None]))
    for weight, colour in zip(((present * opacity)[..., None, None] * inside).unbind(1), colours, strict=True):
        pixels = torch.lerp(pixels, colour.expand_as(pixels), weight[:, None])
    return pixels.contiguous(memory_format=torch.channels_last)


def _hue_matrix(generator: torch.Generator, share: float) -> Float[Tensor, "3 3"]:
    """Rotation about the grey axis by a random angle, with random saturation; the identity for the other images."""
    score, angle, saturation = torch.rand(3, generator=generator).tolist()
    if score >= share:
        return torch.eye(3)
    turn = (angle - 0.5) * 2 * math.pi * (0.25 if score < share / 2 else 1.0)
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = grey + math.cos(turn) * (torch.eye(3) - grey) + math.sin(turn) * cross
    turned: Tensor = grey + (0.7 + 0.8 * saturation) * (rotation - grey)
    return turned
