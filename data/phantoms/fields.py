"""Drawing primitives of the phantoms: noise, outlines, nets, spots, vessels, and pigments that absorb light.

A canvas is a square of n pixels that spans -EXTENT to EXTENT; lengths are in half image heights, so a lesion looks
the same at every size.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # [n, n], or [3, n, n] for RGB in 0 to 1
Colour = tuple[float, float, float]

EXTENT = 1.75
_TWIG = 0.12  # length below which vessels do not branch
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@lru_cache(maxsize=4)
def grid(n: int) -> tuple[Field, Field]:
    """Every pixel's x and y."""
    axis = ((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1) * np.float32(EXTENT)
    return np.tile(axis, (n, 1)), np.tile(axis[:, None], (1, n))


def happens(rng: np.random.Generator, chance: float) -> bool:
    """True with this probability."""
    return rng.random() < chance


def noise(rng: np.random.Generator, n: int, cells: int, octaves: int = 3) -> Field:
    """Fractal noise with a mean of about 0 and a standard deviation of about 1; its period is EXTENT * 2 / cells."""
    total: Field = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    amplitude, power = 1.0, 1.0
    for octave in range(1, octaves):
        size = cells * 2**octave + 1
        amplitude *= 0.55
        power += amplitude**2
        total = cv2.resize(total, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        total += np.float32(amplitude) * rng.standard_normal((size, size), dtype=np.float32)
    whole: Field = cv2.resize(total, (n, n), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return whole * np.float32(1.4 / power**0.5)


def step(field: Field, low: float, high: float) -> Field:
    """0 below low, 1 above high, smooth between."""
    t: Field = np.clip((field - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def outline(
    rng: np.random.Generator, n: int, radius: float, *, oval: float, lobes: float, ragged: float, cells: int = 9
) -> Field:
    """Depth inside the border, about the distance to it and above 0 inside, of a disk deformed by each amount."""
    x, y = grid(n)
    rho, theta = cv2.cartToPolar(x, y)
    bend: Field = np.full((n, n), 1, np.float32)
    for k, amount in ((2, oval), (3, lobes), (4, lobes * 0.7), (5, lobes * 0.5)):
        size = amount * rng.uniform(0.5, 1.0)
        bend += np.float32(size) * np.cos(k * theta + np.float32(rng.uniform(0, 2 * np.pi)))
    turn = cv2.getRotationMatrix2D((n / 2, n / 2), rng.uniform(0, 360), 1.0)  # otherwise borders follow the lattice
    wobble = cv2.warpAffine(noise(rng, n, cells, 4), turn, (n, n), borderMode=cv2.BORDER_REFLECT_101)
    depth: Field = np.float32(radius) * bend - rho + np.float32(ragged * radius) * wobble
    return depth


def cells(rng: np.random.Generator, n: int, spacing: float, jitter: float) -> Field:
    """Distance from the nearest point of a jittered honeycomb: 0 in the middle of a cell, about 1 at its border."""
    count = int(2 * EXTENT / spacing) + 2
    shake = rng.uniform(-jitter, jitter, (2, count, count)) * spacing
    rows, columns = np.mgrid[0:count, 0:count]
    px = (columns + 0.5 * (rows % 2)) * spacing + shake[0]
    py = rows * spacing * 0.9 + shake[1]
    for _ in range(2):  # bend the rows, otherwise they look woven
        k, phase = rng.normal(0, 3.2, 2), rng.uniform(0, 2 * np.pi, 2)
        px, py = px + 0.09 * np.sin(k[0] * py + phase[0]), py + 0.09 * np.sin(k[1] * px + phase[1])
    scale = n / (2 * EXTENT)
    ix, iy = (px * scale).astype(int), (py * scale).astype(int)
    inside = (ix >= 0) & (ix < n) & (iy >= 0) & (iy < n)
    empty = np.ones((n, n), np.uint8)
    empty[iy[inside], ix[inside]] = 0
    distance: Field = cv2.distanceTransform(empty, cv2.DIST_L2, 5).astype(np.float32)
    return distance / np.float32(0.62 * spacing * scale)


def scatter(rng: np.random.Generator, depth: Field, count: int, margin: float = 0.0, apart: float = 0.0) -> Field:
    """Up to count points [k, 2] (x, y), at least margin inside the border and apart from each other."""
    n = depth.shape[-1]
    chosen: list[tuple[float, float]] = []
    for x, y in rng.uniform(-1, 1, (count * 6, 2)):
        if depth[_pixel(y, n), _pixel(x, n)] < margin:
            continue
        if all((x - a) ** 2 + (y - b) ** 2 >= apart**2 for a, b in chosen):
            chosen.append((x, y))
        if len(chosen) == count:
            break
    return np.array(chosen, np.float32).reshape(-1, 2)


def rim(rng: np.random.Generator, depth: Field, count: int, around: float, spread: float) -> tuple[Field, Field]:
    """Count points [k, 2] on the border, within spread of the angle around, and their angles."""
    n = depth.shape[0]
    angles = around + rng.uniform(-spread, spread, count)
    radii = np.linspace(0.15, 1.3, 40)
    rows = np.clip((np.sin(angles)[:, None] * radii / EXTENT + 1) * n / 2, 0, n - 1).astype(int)
    columns = np.clip((np.cos(angles)[:, None] * radii / EXTENT + 1) * n / 2, 0, n - 1).astype(int)
    reach = radii[np.argmax(depth[rows, columns] < 0, axis=1)]
    points = np.stack([np.cos(angles) * reach, np.sin(angles) * reach], axis=1)
    return points.astype(np.float32), angles.astype(np.float32)


def spots(
    rng: np.random.Generator,
    n: int,
    points: Field,
    radius: tuple[float, float],
    *,
    flat: float = 1.0,
    soft: float = 0.012,
    weakest: float = 0.6,
) -> Field:
    """Clods at the points with random sizes and strengths, oval down to the axis ratio flat."""
    plate = np.zeros((n, n), np.uint8)
    for x, y in points:
        size = rng.uniform(*radius)
        ratio = rng.uniform(flat, 1.0)
        axes = (_fixed(size, n, 0), _fixed(size * ratio, n, 0))
        turn, strength = rng.uniform(0, 180), rng.uniform(weakest, 1.0)
        centre = (_fixed(x, n), _fixed(y, n))
        cv2.ellipse(plate, centre, axes, turn, 0, 360, 255 * strength, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return _softened(plate, soft)


def strokes(n: int, lines: Sequence[tuple[Field, int, float]], soft: float = 0.008) -> Field:
    """Lines of points [k, 2], each with its thickness in pixels of a 210 pixel canvas and its strength."""
    plate = np.zeros((n, n), np.uint8)
    for points, thickness, strength in lines:
        path = np.round((points / EXTENT + 1) * (n / 2) * 2**_SHIFT).astype(np.int32)
        wide = max(1, round(thickness * n / 210))
        cv2.polylines(
            plate, [path], isClosed=False, color=255 * strength, thickness=wide, lineType=cv2.LINE_AA, shift=_SHIFT
        )
    return _softened(plate, soft)


def tree(
    rng: np.random.Generator, start: Field, angle: float, *, length: float, thickness: int, strength: float = 1.0
) -> list[tuple[Field, int, float]]:
    """A winding, branching vessel, as lines for `strokes`."""
    turns = angle + np.cumsum(rng.normal(0, 0.28, 9))
    way = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * length / 9, axis=0)
    path = np.concatenate([start[None], start + way]).astype(np.float32)
    lines = [(path, thickness, strength)]
    if length < _TWIG:
        return lines
    for at in rng.choice(np.arange(3, 10), 2, replace=False):
        side = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        thinner = max(1, thickness - 1)
        lines += tree(
            rng, path[at], turns[at - 1] + side, length=length * 0.55, thickness=thinner, strength=strength * 0.8
        )
    return lines


def absorb(image: Field, amount: Field, pigment: Colour) -> Field:
    """The image seen through a pigment, by the Beer-Lambert law, for realistic browns and reds."""
    passed: Field = np.exp(-amount * _planes(pigment))
    return image * passed


def blend(image: Field, colour: Colour, alpha: Field) -> Field:
    """The image blended with a colour."""
    return image + alpha * (_planes(colour) - image)


def _planes(colour: Colour) -> Field:
    return np.array(colour, np.float32)[:, None, None]


def _softened(plate: NDArray[np.uint8], soft: float) -> Field:
    field = plate.astype(np.float32) / np.float32(255)
    sigma = soft * plate.shape[0] / (2 * EXTENT)
    blurred: Field = cv2.GaussianBlur(field, (0, 0), sigma).astype(np.float32)
    return blurred


def _pixel(value: float, n: int) -> int:
    return int(min(n - 1, max(0, (value / EXTENT + 1) * n / 2)))


def _fixed(value: float, n: int, offset: float = 1) -> int:
    return round((float(value) / EXTENT + offset) * n / 2 * (1 << _SHIFT))
