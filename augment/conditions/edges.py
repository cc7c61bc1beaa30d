"""Edges of a photograph: Canny's, soft ones, scribbles and straight lines. None of them needs trained weights."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Image = UInt8[np.ndarray, "H W 3"]
Plane = Float[np.ndarray, "H W"]

_SOFT_SCALES = (1 / 96, 1 / 48, 1 / 24)  # of the image's edge
_WEAK, _STRONG = 80, 92  # percentiles of the gradient: Canny's two thresholds
_DRAWN = 88  # percentile of the soft edge from which a scribble is drawn
_SMALL, _ENLARGED = 256, 4  # pixels below which LSD finds next to nothing, and the factor that helps
_CANNY_RANGE = 20_000  # of gradients as 16-bit integers: the sum of two squares fits 32 bits


def luminance(pixels: Image) -> Plane:
    """Brightness in [0, 1], ITU-R BT.601."""
    weights = np.array([0.299, 0.587, 0.114], np.float32) / 255
    grey: Plane = pixels.astype(np.float32) @ weights
    return grey


def blurred(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur; `sigma` in pixels. The image is mirrored at its border."""
    smooth: Plane = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return smooth


def gradient(plane: Plane) -> tuple[Plane, Plane]:
    """Change to the right and downwards, in the plane's unit per pixel (Sobel)."""
    right, down = (
        cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx, scale=1 / 8, borderType=cv2.BORDER_REFLECT_101) for dx in (1, 0)
    )
    return right, down


def canny(pixels: Image) -> Plane:
    """Thin edges, 0 or 1. Canny 1986.

    The thresholds are percentiles of the image's own gradient: fixed ones find nothing on a pale lesion.
    """
    right, down = gradient(blurred(luminance(pixels), max(1.0, len(pixels) / 128)))
    size = np.hypot(right, down)
    largest = float(size.max())
    if largest < 1 / 255 / 8:  # a flat image: rounding alone
        return np.zeros(size.shape, np.float32)
    scale = _CANNY_RANGE / largest
    dx, dy = ((each * scale).round().astype(np.int16) for each in (right, down))
    weak, strong = (max(1.0, float(np.percentile(size, share)) * scale) for share in (_WEAK, _STRONG))
    edges: Plane = cv2.Canny(dx, dy, weak, strong, L2gradient=True).astype(np.float32) / 255
    return edges


def soft_edge(pixels: Image) -> Plane:
    """The gradient's size, the largest of three scales, in [0, 1]; 1 from the 99th percentile on."""
    grey, found = luminance(pixels), np.zeros(pixels.shape[:2], np.float32)
    for share in _SOFT_SCALES:
        sigma = max(0.5, share * len(pixels))
        found = np.maximum(found, sigma * np.hypot(*gradient(blurred(grey, sigma))))
    edge: Plane = np.clip(found / max(float(np.percentile(found, 99)), 1 / 255), 0, 1).astype(np.float32)
    return edge


def scribble(pixels: Image) -> Plane:
    """Thick strokes where the soft edge is strongest, 0 or 1."""
    edge = soft_edge(pixels)
    return (edge > max(float(np.percentile(edge, _DRAWN)), 0.2)).astype(np.float32)


def lines(pixels: Image) -> Plane:
    """Straight line segments, in [0, 1]. LSD, Grompone von Gioi et al. 2012; a small image is enlarged for it."""
    height, width = pixels.shape[:2]
    factor = _ENLARGED if min(height, width) < _SMALL else 1
    grey = (luminance(pixels) * 255).round().astype(np.uint8)
    large = cv2.resize(grey, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
    found = cv2.createLineSegmentDetector().detect(large)[0]
    drawn = np.zeros(large.shape, np.uint8)
    for x0, y0, x1, y1 in () if found is None else found.reshape(-1, 4).round().astype(int).tolist():
        cv2.line(drawn, (x0, y0), (x1, y1), 255, thickness=factor, lineType=cv2.LINE_AA)
    reduced: Plane = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return reduced
