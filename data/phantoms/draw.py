"""One phantom image: skin, a lesion on it, and the effects of the camera."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data.phantoms.fields import EXTENT, Colour, Field, absorb, blend, cells, happens, noise, step
from data.phantoms.looks import BLOOD, BROWN, LOOKS


def draw(
    dx: str, lesion: np.random.Generator, photo: np.random.Generator, width: int = 160, height: int = 120
) -> NDArray[np.uint8]:
    """RGB [height, width, 3]: `lesion` seeds what is on the skin, `photo` how this image shows it.

    Raises ValueError if dx is none of the seven codes.
    """
    if dx not in LOOKS:
        raise ValueError(f"no phantoms of {dx!r}; there are {', '.join(LOOKS)}")
    scene = LOOKS[dx](_skin(lesion, round(EXTENT * height)), lesion)
    image = _framed(scene, photo, width, height)
    image = _hair(image, photo)
    image = _focused(image, photo)
    image = _gel(image, photo)
    image = _lit(image, photo)
    image = _ruler(image, photo)
    image = _vignette(image, photo)
    image += np.float32(photo.uniform(0.004, 0.013)) * photo.standard_normal(image.shape, dtype=np.float32)
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _skin(rng: np.random.Generator, n: int) -> Field:
    """Bare skin, from pale to light brown, with furrows, redness and sometimes freckles."""
    tone = rng.beta(1.5, 3.0)
    pale, tan = np.array((0.92, 0.76, 0.71)), np.array((0.78, 0.58, 0.48))
    base = (pale + tone * (tan - pale) + rng.normal(0, 0.015, 3)).astype(np.float32)
    light = 1 + np.float32(0.018) * noise(rng, n, 10, 4) + np.float32(0.02) * noise(rng, n, 3, 1)
    furrows = step(cells(rng, n, rng.uniform(0.09, 0.16), 0.4), 0.5, 1.1)
    skin = base[:, None, None] * (light - np.float32(rng.uniform(0.0, 0.05)) * furrows)
    skin = absorb(skin, np.clip(rng.uniform(0.02, 0.10) * (1 + 0.6 * noise(rng, n, 9, 4)), 0, 1), BLOOD)
    if happens(rng, 0.2):
        freckles = step(noise(rng, n, 26, 1), 0.9, 3.2) * step(noise(rng, n, 5, 1), -0.5, 1.5) * rng.uniform(0.2, 0.6)
        skin = absorb(skin, freckles, BROWN)
    return skin


def _framed(scene: Field, rng: np.random.Generator, width: int, height: int) -> Field:
    """The part of the scene in view: rotated, shifted and scaled."""
    n = scene.shape[-1]
    turn = cv2.getRotationMatrix2D((n / 2, n / 2), rng.uniform(0, 360), rng.uniform(0.9, 1.12))
    shift = np.array((width / 2 - n / 2, height / 2 - n / 2)) + rng.normal(0, 0.04, 2) * height
    turn = turn + np.column_stack([np.zeros((2, 2)), shift])
    view = [cv2.warpAffine(plane, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101) for plane in scene]
    return np.stack(view).astype(np.float32, copy=False)


def _hair(image: Field, rng: np.random.Generator) -> Field:
    if not happens(rng, 0.25):
        return image
    height, width = image.shape[1:]
    plate = np.zeros((height, width), np.uint8)
    short = happens(rng, 0.35)
    lie = rng.uniform(0, np.pi)
    t = np.linspace(0, 1, 12)[:, None]
    for _ in range(int(rng.integers(3, 16))):
        middle = rng.uniform(0, 1, 2) * (width, height)
        way = lie + rng.normal(0, 0.35)
        half = height * (rng.uniform(0.05, 0.12) if short else rng.uniform(0.3, 0.8))
        reach = np.array([np.cos(way), np.sin(way)]) * half
        bow = np.array([-reach[1], reach[0]]) * rng.normal(0, 0.35)
        path = (1 - t) ** 2 * (middle - reach) + 2 * t * (1 - t) * (middle + bow) + t**2 * (middle + reach)
        points, dark = np.round(path * 16).astype(np.int32), rng.uniform(110, 235)
        cv2.polylines(
            plate, [points], isClosed=False, color=dark, thickness=_thick(height), lineType=cv2.LINE_AA, shift=4
        )
    shade: Colour = (0.16, 0.10, 0.08) if happens(rng, 0.75) else (0.42, 0.28, 0.17)
    return blend(image, shade, _share(plate))


def _focused(image: Field, rng: np.random.Generator) -> Field:
    sigma = rng.gamma(2.0, 0.22) * image.shape[1] / 120
    if sigma < 0.25:  # noqa: PLR2004 - not visible
        return image
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in image]).astype(np.float32, copy=False)


def _lit(image: Field, rng: np.random.Generator) -> Field:
    """Lamp colour, exposure, contrast and a brightness gradient across the image."""
    height, width = image.shape[1:]
    warm, pink = rng.normal(0, 0.03), rng.normal(0.01, 0.03)
    cast = np.array((1 + warm * 0.4, 1 - pink, 1 - warm + pink * 0.6)) * rng.uniform(0.9, 1.1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height - 0.5
    slope = 1 + np.float32(rng.normal(0, 0.04)) * x + np.float32(rng.normal(0, 0.04)) * y
    lit = np.clip(image * slope * cast.astype(np.float32)[:, None, None], 1e-4, 1)
    curved: Field = lit ** np.float32(rng.uniform(0.88, 1.15))
    return curved


def _gel(image: Field, rng: np.random.Generator) -> Field:
    """Air bubbles in the contact gel: a bright ring with a glint."""
    if not happens(rng, 0.05):
        return image
    height, width = image.shape[1:]
    ring = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        size = rng.uniform(0.02, 0.06) * height
        cv2.circle(ring, (round(x * 16), round(y * 16)), round(size * 16), 130, 1, cv2.LINE_AA, 4)
        glint = (round((x - size / 2) * 16), round((y - size / 2) * 16))
        cv2.circle(ring, glint, round(size * 4), 220, cv2.FILLED, cv2.LINE_AA, 4)
    return blend(image, (1.0, 0.98, 0.96), _share(cv2.GaussianBlur(ring, (0, 0), 0.5)))


def _ruler(image: Field, rng: np.random.Generator) -> Field:
    """Tick marks along an edge, every fifth longer."""
    if not happens(rng, 0.08):
        return image
    height, width = image.shape[1:]
    plate = np.zeros((height, width), np.uint8)
    pitch, edge = rng.uniform(0.05, 0.09) * height, rng.uniform(0.0, 0.05) * height
    for number in range(int(width / pitch) + 1):
        x = number * pitch
        reach = edge + (0.085 if number % 5 == 0 else 0.045) * height
        ends = (round(x * 16), round(edge * 16)), (round(x * 16), round(reach * 16))
        cv2.line(plate, *ends, 220, _thick(height), cv2.LINE_AA, 4)
    turned = np.ascontiguousarray(plate[::-1]) if happens(rng, 0.5) else plate
    return blend(image, (0.12, 0.11, 0.13), _share(turned))


def _vignette(image: Field, rng: np.random.Generator) -> Field:
    """Darker towards the corners; sometimes with the black rim of the dermoscope."""
    height, width = image.shape[1:]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy = width / 2 + rng.normal(0, 0.02) * width, height / 2 + rng.normal(0, 0.02) * height
    rho: Field = np.hypot(x - np.float32(cx), y - np.float32(cy)) / np.float32(height / 2)
    image = image * (1 - np.float32(rng.uniform(0, 0.10)) * rho**2)
    if not happens(rng, 0.14):
        return image
    rim = rng.uniform(1.12, 1.5)
    return blend(image, (0.03, 0.025, 0.03), step(rho, rim - 0.03, rim + 0.05))


def _share(plate: NDArray[Any]) -> Field:
    """Values of 0 to 255 scaled to 0 to 1."""
    return plate.astype(np.float32) / np.float32(255)


def _thick(height: int) -> int:
    return max(1, round(height / 120))
