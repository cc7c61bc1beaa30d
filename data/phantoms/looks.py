"""The appearance of the seven classes: each function draws a lesion on bare skin.

The features of a class have a random strength, so that weak lesions of similar classes look alike
(Tschandl et al. 2018 for the classes; Kittler et al. 2016 for the terms of dermoscopy).
"""

from collections.abc import Callable

import numpy as np

from data.phantoms.fields import (
    Colour,
    Field,
    absorb,
    blend,
    cells,
    grid,
    happens,
    noise,
    outline,
    rim,
    scatter,
    spots,
    step,
    strokes,
    tree,
)

BROWN: Colour = (0.42, 0.88, 1.20)  # melanin in the epidermis
OCHRE: Colour = (0.34, 0.72, 1.25)  # melanin with keratin
BLACK: Colour = (0.95, 1.05, 1.10)
BLOOD: Colour = (0.10, 0.80, 0.58)
SALMON: Colour = (0.09, 0.66, 0.60)  # blood under scale
VIOLET: Colour = (0.55, 1.10, 0.45)
BLUE_GREY: Colour = (0.42, 0.45, 0.54)
WHITE: Colour = (0.95, 0.90, 0.88)
MILK: Colour = (0.93, 0.80, 0.79)
YELLOW: Colour = (0.90, 0.76, 0.48)


def nevus(skin: Field, rng: np.random.Generator) -> Field:
    """Round and even: a regular net, globules, or neither, fading at the border."""
    n = skin.shape[-1]
    odd = rng.beta(1.2, 2.1)  # similarity to a melanoma
    depth = outline(rng, n, rng.uniform(0.36, 0.68), oval=0.16, lobes=0.03 + 0.10 * odd, ragged=0.03 + 0.10 * odd)
    fade = rng.uniform(0.06, 0.17)
    body = step(depth, -fade, fade)
    tone = rng.uniform(0.42, 1.15) * (1 + 0.5 * odd * noise(rng, n, 4, 2))
    tone = tone * (1 + rng.uniform(-0.15, 0.6) * step(depth, 0.05, 0.45))
    pink = happens(rng, 0.10)
    if pink:  # a dermal nevus
        tone = tone * np.float32(rng.uniform(0.1, 0.4))
    image = absorb(skin, body * (rng.uniform(0.0, 0.32) + 0.25 * pink), BLOOD)
    kind = rng.choice(["net", "globules", "plain"], p=[0.58, 0.24, 0.18])
    if kind == "net":
        mesh = step(cells(rng, n, rng.uniform(0.085, 0.13), 0.30 + 0.1 * odd), 0.4, 1.15)
        clear = rng.uniform(0.3, 0.85) * np.clip(0.9 + 0.4 * noise(rng, n, 8, 2), 0.2, 1.5)
        tone = tone * (1 + clear * (1.3 * mesh - 0.35))
    elif kind == "globules":
        clods = spots(rng, n, scatter(rng, depth, 60, 0.02, 0.10), (0.032, 0.055), flat=0.7)
        tone = tone * (0.65 + rng.uniform(0.6, 1.1) * clods)
    if happens(rng, 0.14):  # pale in the middle, like a fibroma
        image = blend(image, MILK, step(depth, 0.12, 0.42) * rng.uniform(0.1, 0.5))
        tone = tone * (1 - rng.uniform(0.2, 0.7) * step(depth, 0.1, 0.4))
    if happens(rng, 0.25 * odd + 0.05):
        image = blend(image, BLUE_GREY, step(noise(rng, n, 4, 2), 0.2, 1.4) * body * rng.uniform(0.1, 0.5))
    return absorb(image, _grain(rng, n, body * np.maximum(tone, 0)), _brown(rng))


def melanoma(skin: Field, rng: np.random.Generator) -> Field:
    """Asymmetric and many-coloured: broken net, black blotches, blue-grey veil, white scars, streaks and dots."""
    n = skin.shape[-1]
    bold = rng.beta(1.2, 1.7)  # from nearly a nevus to all features
    depth = outline(
        rng, n, rng.uniform(0.42, 0.74), oval=0.24, lobes=0.05 + 0.11 * bold, ragged=0.05 + 0.10 * bold, cells=8
    )
    soft = rng.uniform(0.04, 0.13)
    body = step(depth, -soft, soft)
    x, y = grid(n)
    way = rng.uniform(0, 2 * np.pi)
    tilt: Field = (x * np.cos(way) + y * np.sin(way)).astype(np.float32)
    patches = noise(rng, n, 5, 3) + np.float32(1.2) * tilt
    tone = rng.uniform(0.55, 1.0) * np.exp(np.float32(0.15 + 0.4 * bold) * patches)
    mesh = step(cells(rng, n, rng.uniform(0.10, 0.16), 0.44), 0.4, 1.2)
    tone = tone * (1 + (1.2 * mesh - 0.35) * step(noise(rng, n, 6, 2), -0.7, 1.2))
    if happens(rng, 0.08):  # hardly any pigment
        tone = tone * np.float32(rng.uniform(0.2, 0.5))
        skin = absorb(skin, body * rng.uniform(0.25, 0.6), BLOOD)
    image = absorb(skin, body * step(noise(rng, n, 5, 3), 0.0, 1.7) * rng.uniform(0.0, 0.8), BLOOD)
    image = absorb(image, _grain(rng, n, body * np.clip(tone, 0.1, 2.4)), _brown(rng))
    blotch = step(noise(rng, n, 6, 4) + np.float32(1.0) * tilt, 0.5, 1.8) * step(depth, 0.0, 0.10)
    image = absorb(image, blotch * bold * rng.uniform(0.3, 1.2), BLACK)
    veil = step(noise(rng, n, 5, 3), -0.1, 1.6) * step(depth, 0.04, 0.2)
    image = blend(image, BLUE_GREY, veil * bold * rng.uniform(0.1, 0.85))
    if happens(rng, 0.6 * bold):
        scar = step(noise(rng, n, 6, 4) - np.float32(0.8) * tilt, 0.5, 1.9) * step(depth, 0.0, 0.12)
        image = blend(image, MILK, scar * bold * rng.uniform(0.4, 0.9))
    return _ragged_rim(image, depth, rng, bold, tone=rng.uniform(0.8, 1.6))


def keratosis(skin: Field, rng: np.random.Generator) -> Field:
    """Sharp border, ridges and furrows, white milia, dark plugs; a fifth are flat sun spots."""
    n = skin.shape[-1]
    sharp = rng.uniform(0.012, 0.12)
    if happens(rng, 0.22):
        return _sun_spot(skin, rng, sharp)
    keratin = rng.beta(1.1, 1.4)
    depth = outline(rng, n, rng.uniform(0.40, 0.72), oval=0.2, lobes=0.06, ragged=rng.uniform(0.04, 0.13), cells=9)
    body = step(depth, -sharp, sharp)
    ridges = 1 - np.abs(noise(rng, n, int(rng.integers(12, 19)), 2)) * np.float32(1.6)
    tone = rng.uniform(0.35, 1.15) * np.clip(1 + 0.3 * noise(rng, n, 5, 3), 0.4, 2)
    tone = tone * (1 + keratin * np.float32(0.75) * np.clip(ridges - 0.25, -0.7, 0.7))
    if happens(rng, 0.14):  # inflamed
        skin = absorb(skin, step(depth, -0.12, 0.05) * rng.uniform(0.2, 0.6), SALMON)
        tone = tone * np.float32(rng.uniform(0.3, 0.9))
    image = absorb(skin, _grain(rng, n, body * np.maximum(tone, 0.08)), OCHRE if happens(rng, 0.6) else _brown(rng))
    image = blend(image, (0.62, 0.56, 0.53), body * keratin * rng.uniform(0.0, 0.6))  # waxy, dull
    if happens(rng, 0.75):
        plugs = spots(rng, n, scatter(rng, depth, int(rng.integers(4, 18)), 0.06, 0.09), (0.022, 0.045), flat=0.6)
        image = absorb(image, plugs * keratin * rng.uniform(0.6, 1.5), BROWN)
    if happens(rng, 0.75):
        milia = spots(rng, n, scatter(rng, depth, int(rng.integers(4, 18)), 0.06, 0.09), (0.02, 0.042), soft=0.014)
        image = blend(image, (0.97, 0.90, 0.76), milia * keratin * rng.uniform(0.6, 0.95))
    return _raised(image, depth, rng.uniform(0.0, 0.5))


def carcinoma(skin: Field, rng: np.random.Generator) -> Field:
    """Pink and shining: blue-grey ovoid nests, vessels that branch like trees, small ulcers."""
    n = skin.shape[-1]
    depth = outline(rng, n, rng.uniform(0.40, 0.70), oval=0.2, lobes=0.08, ragged=0.08)
    soft = rng.uniform(0.07, 0.16)
    body = step(depth, -soft, soft)
    image = absorb(skin, body * rng.uniform(0.18, 0.5) * (1 + 0.35 * noise(rng, n, 6, 3)), BLOOD)
    image = blend(image, (0.93, 0.78, 0.80), body * step(noise(rng, n, 5, 3), -0.2, 1.4) * rng.uniform(0.15, 0.6))
    image = absorb(image, body * step(noise(rng, n, 4, 3), 0.2, 1.5) * rng.uniform(0.0, 0.6), BROWN)
    if happens(rng, 0.14):  # pigmented throughout
        tone = np.clip(1 + 0.5 * noise(rng, n, 5, 3), 0.1, 2) * rng.uniform(0.4, 1.1)
        image = absorb(image, body * tone, _brown(rng))
    superficial = happens(rng, 0.28)  # much like an actinic keratosis
    if not superficial and happens(rng, 0.8):
        places = scatter(rng, depth, int(rng.integers(2, 10)), 0.05, 0.13)
        nests = spots(rng, n, places, (0.05, 0.13), flat=0.5, soft=0.025, weakest=0.4)
        image = blend(image, (0.36, 0.36, 0.46), nests * rng.uniform(0.25, 0.9))
    if happens(rng, 0.3 if superficial else 0.7):
        starts, angles = rim(rng, depth, int(rng.integers(2, 5)), rng.uniform(0, 2 * np.pi), np.pi)
        image = absorb(image, _vessels(rng, n, starts, angles) * rng.uniform(0.35, 1.15), BLOOD)
    if happens(rng, 0.35):
        image = _crust(image, depth, rng, int(rng.integers(1, 4)))
    if happens(rng, 0.6 if superficial else 0.1):
        image = blend(image, WHITE, _scale(rng, depth) * rng.uniform(0.2, 0.6))
    return _raised(image, depth, rng.uniform(0.1, 0.6))


def actinic(skin: Field, rng: np.random.Generator) -> Field:
    """A red rough patch with no clear border: strawberry pattern, white scale, yellow crust."""
    n = skin.shape[-1]
    depth = outline(rng, n, rng.uniform(0.44, 0.76), oval=0.2, lobes=0.08, ragged=0.14, cells=8)
    soft = rng.uniform(0.08, 0.24)
    body = step(depth, -soft, soft)
    red = rng.uniform(0.15, 0.75) * np.clip(1 + 0.4 * noise(rng, n, 8, 3), 0.2, 2)
    holes = 1 - step(cells(rng, n, rng.uniform(0.11, 0.18), 0.42) + np.float32(0.13) * noise(rng, n, 20, 2), 0.15, 0.6)
    berry = rng.beta(0.9, 1.3)
    image = absorb(skin, body * red * (1 - np.float32(0.7 * berry) * holes), SALMON)
    image = blend(image, (0.96, 0.86, 0.74), body * holes * np.float32(berry * 0.5))
    if happens(rng, 0.4):  # pigmented
        image = absorb(image, body * step(noise(rng, n, 7, 3), -0.9, 1.2) * rng.uniform(0.2, 1.1), OCHRE)
    if happens(rng, 0.6):
        image = blend(image, WHITE, _scale(rng, depth) * rng.uniform(0.4, 0.95))
    if happens(rng, 0.2):
        starts, angles = rim(rng, depth, 3, rng.uniform(0, 2 * np.pi), np.pi)
        image = absorb(image, _vessels(rng, n, starts, angles) * rng.uniform(0.3, 0.8), BLOOD)
    if happens(rng, 0.4):
        crust = step(noise(rng, n, 14, 4), 0.6, 2.0) * step(depth, 0.05, 0.2)
        image = blend(image, (0.82, 0.64, 0.42), crust * rng.uniform(0.4, 0.85))
    return image


def fibroma(skin: Field, rng: np.random.Generator) -> Field:
    """A white scar in the middle of a delicate light-brown net."""
    n = skin.shape[-1]
    depth = outline(rng, n, rng.uniform(0.36, 0.62), oval=0.12, lobes=0.05, ragged=0.07)
    soft = rng.uniform(0.08, 0.2)
    body = step(depth, -soft, soft)
    uneven = depth + np.float32(0.05) * noise(rng, n, 7, 3)
    middle = step(uneven, rng.uniform(0.08, 0.18), rng.uniform(0.34, 0.46))
    middle = middle * np.clip(1 + 0.25 * noise(rng, n, 9, 3), 0.3, 1.4)
    mesh = step(cells(rng, n, rng.uniform(0.09, 0.13), 0.3), 0.4, 1.15)
    tone = rng.uniform(0.30, 0.9) * (0.7 + rng.uniform(0.3, 0.9) * mesh) * (1 + 0.2 * noise(rng, n, 5, 2))
    image = absorb(skin, body * rng.uniform(0.05, 0.35), BLOOD)
    image = absorb(image, _grain(rng, n, body * np.maximum(tone, 0)), _brown(rng))
    return blend(image, MILK if happens(rng, 0.5) else WHITE, np.clip(middle * rng.beta(1.1, 1.2), 0, 0.92))


def vascular(skin: Field, rng: np.random.Generator) -> Field:
    """Red, purple or blue-black lacunae, sometimes a black crust; no brown."""
    n = skin.shape[-1]
    depth = outline(rng, n, rng.uniform(0.34, 0.58), oval=0.18, lobes=0.08, ragged=0.05)
    soft = rng.uniform(0.02, 0.12)
    body = step(depth, -soft, soft)
    blue = rng.beta(0.7, 1.1)
    image = absorb(skin, step(depth, -0.3, 0.1) * rng.uniform(0.05, 0.3), BLOOD)
    ground, clods = rng.uniform(0.2, 1.2), rng.uniform(0.15, 1.2)
    places = scatter(rng, depth, 42, 0.0, rng.uniform(0.10, 0.15))
    lakes = spots(rng, n, places, (0.045, 0.12), flat=0.55, soft=0.022, weakest=0.35)
    amount = _grain(rng, n, (body * ground + lakes * clods) * np.clip(1 + 0.2 * noise(rng, n, 5, 2), 0.4, 1.6))
    image = absorb(image, amount * np.float32(1 - 0.6 * blue), BLOOD)
    image = absorb(image, amount * np.float32(0.15 + 0.9 * blue), VIOLET)
    image = blend(image, MILK, body * (1 - lakes) * rng.uniform(0.0, 0.35))
    if happens(rng, 0.22):
        clot = step(noise(rng, n, 6, 4), 0.0, 1.2) * step(depth, 0.05, 0.15)
        image = absorb(image, clot * rng.uniform(0.8, 2.0), BLACK)
    return image


LOOKS: dict[str, Callable[[Field, np.random.Generator], Field]] = {
    "akiec": actinic,
    "bcc": carcinoma,
    "bkl": keratosis,
    "df": fibroma,
    "mel": melanoma,
    "nv": nevus,
    "vasc": vascular,
}


def _brown(rng: np.random.Generator) -> Colour:
    """A random brown, from reddish to greyish."""
    grey = max(-0.12, rng.normal(0.01, 0.09))
    return BROWN[0] + 1.2 * grey, BROWN[1] - 0.3 * grey, BROWN[2] - 1.4 * grey


def _grain(rng: np.random.Generator, n: int, amount: Field) -> Field:
    """The amount of pigment with fine random variation."""
    grain: Field = np.clip(1 + np.float32(0.13) * noise(rng, n, 24, 3), 0.3, 2)
    return amount * grain


def _ragged_rim(image: Field, depth: Field, rng: np.random.Generator, bold: float, tone: float) -> Field:
    n = image.shape[-1]
    side = rng.uniform(0, 2 * np.pi)
    if happens(rng, 0.05 + 0.6 * bold):
        points, angles = rim(rng, depth, 18, side, 0.9)
        leaning = angles + rng.normal(0, 0.25, len(angles))
        ways = np.stack([np.cos(leaning), np.sin(leaning)], axis=1)
        rays = [
            (np.stack([p - 0.12 * w, p + rng.uniform(0.0, 0.12) * w]).astype(np.float32), 1, rng.uniform(0.4, 1.0))
            for p, w in zip(points, ways, strict=True)
        ]
        image = absorb(image, strokes(n, rays, 0.012) * tone, BROWN)
    if happens(rng, 0.05 + 0.6 * bold):
        points, _ = rim(rng, depth, int(rng.integers(5, 16)), side + rng.normal(0, 0.5), 1.4)
        places = points * rng.uniform(0.85, 1.12, (len(points), 1))
        image = absorb(image, spots(rng, n, places.astype(np.float32), (0.018, 0.04)) * tone, BROWN)
    return image


def _vessels(rng: np.random.Generator, n: int, starts: Field, angles: Field) -> Field:
    """Branching vessels that grow inwards from the border."""
    lines = [
        line
        for start, angle in zip(starts, angles, strict=True)
        for line in tree(
            rng, start * 1.2, angle + np.pi + rng.normal(0, 0.5), length=rng.uniform(0.45, 0.95), thickness=2
        )
    ]
    return strokes(n, lines, 0.009)


def _scale(rng: np.random.Generator, depth: Field) -> Field:
    n = depth.shape[-1]
    return step(noise(rng, n, 24, 3) + np.float32(1.1) * noise(rng, n, 6, 1), 0.9, 2.0) * step(depth, -0.05, 0.2)


def _sun_spot(skin: Field, rng: np.random.Generator, sharp: float) -> Field:
    n = skin.shape[-1]
    depth = outline(rng, n, rng.uniform(0.42, 0.70), oval=0.22, lobes=0.1, ragged=0.13, cells=12)
    body = step(depth, -sharp, sharp)
    mesh = step(cells(rng, n, rng.uniform(0.08, 0.12), 0.38), 0.4, 1.15)
    tone = rng.uniform(0.28, 0.65) * (0.7 + rng.uniform(0.2, 0.7) * mesh) * (1 + 0.25 * noise(rng, n, 6, 3))
    return absorb(skin, _grain(rng, n, body * np.maximum(tone, 0.05)), OCHRE)


def _crust(image: Field, depth: Field, rng: np.random.Generator, count: int) -> Field:
    n = image.shape[-1]
    sores = spots(rng, n, scatter(rng, depth, count, 0.1, 0.15), (0.05, 0.11), flat=0.6, soft=0.02)
    sores = step(sores + np.float32(0.25) * noise(rng, n, 16, 2) * sores, 0.25, 0.7)
    image = absorb(image, sores * rng.uniform(0.5, 1.0), BLOOD)
    return absorb(image, sores * rng.uniform(0.3, 0.9), OCHRE)


def _raised(image: Field, depth: Field, height: float) -> Field:
    """Shading of a raised plaque, lit from the upper left."""
    dome = step(depth, -0.05, 0.3)
    slope: Field = (np.gradient(dome, axis=0) + np.gradient(dome, axis=1)).astype(np.float32)
    return image * (1 + np.float32(0.01 * height * image.shape[-1]) * slope)
