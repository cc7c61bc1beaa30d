"""Depth and surface normals without a network: how the brightness, or a lesion's mask, would look as a relief.

Neither is measured. The dark is high, and so is the middle of a mask.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from augment.conditions.edges import Image, Plane, blurred, gradient, luminance

_SMOOTH = 1 / 32  # of the image's edge
_HEIGHT = 0.25  # of the highest point, in edges of the image: how steep the normals are


def depth(pixels: Image) -> Plane:
    """Height in [0, 1]: blurred inverse luminance, from its lowest to its highest value."""
    dark = 1 - blurred(luminance(pixels), max(1.0, _SMOOTH * len(pixels)))
    low, spread = float(dark.min()), float(np.ptp(dark))
    return (dark - low) / spread if spread > 2 / 255 else np.zeros(dark.shape, np.float32)  # 0: a flat image


def mask_depth(mask: Plane) -> Plane:
    """Height in [0, 1]: of each pixel of a mask its distance from the outside, over the largest."""
    padded = np.pad(mask.astype(np.uint8), 1)  # the image's border is an outside too
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    height: Plane = distance / max(float(distance.max()), 1.0)
    return height


def normal(pixels: Image) -> Float[np.ndarray, "H W 3"]:
    """The normals of `depth`: red to the right, green upwards, blue towards the viewer, from [-1, 1] to [0, 1]."""
    right, down = gradient(depth(pixels) * _HEIGHT * len(pixels))
    vectors = np.stack([-right, down, np.ones_like(right)], axis=-1)
    unit: Float[np.ndarray, "H W 3"] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (unit + 1) / 2
