"""How alike two images are as photographs, and each image's nearest photograph: a copy stays alike when it is changed.

Two steps. The first compares small colour images in all eight rotations and flips, whole and cropped, and keeps a few
photographs. The second correlates their detail, at several zooms and shifts. Detail is what lies between two blurs,
scaled to the same strength everywhere, so that light, colour and outline, which different lesions of a class share,
count for nothing. In three bands: fine detail tells photographs apart best, coarse detail survives noise and coding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int8, Int64, UInt8
from numpy.typing import NDArray

SIDE = 64  # pixels a side of what is compared; other sizes are resized to it
_TURNS = 8  # four rotations, each with and without a flip
_COARSE = 16  # pixels a side in the first step
_CROPS = (1.0, 0.92, 0.84)  # sides of the parts of a photograph that the first step looks for; crops at nine places
_KEPT = 8  # photographs an image that the second step looks at
_ZOOMS = ((1.0, 0.95), (0.95, 0.9), (0.9, 0.85, 0.8))  # sides that the second step tries, for each of these
_MARGIN = 2  # pixels at the edge of an image that need not be in the photograph
_BANDS = ((0.0, 1.5, 4.5), (0.7, 3.0, 6.0), (1.0, 4.0, 8.0))  # blurs between which detail lies, and window of its scale
_NOISE = 4.0  # squared grey levels of detail that count as none
_LEAST_DETAIL = 1e-3  # standard deviation; a usual one is near 1
_BLOCK = 2048  # photographs that the first step compares at a time

Pixels = UInt8[np.ndarray, "n h w 3"]
Groups = NDArray[Any]  # a name or number an image


@dataclass(frozen=True, kw_only=True)
class Alike:
    """The photographs that each image is most like, in no order."""

    rows: Int64[np.ndarray, "n kept"]  # of the photographs; -1: no more are there to compare with
    similarity: Float64[
        np.ndarray, "n kept"
    ]  # correlation of detail: 1 for the same photograph; -1 where there is none


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The one photograph that each image is most like."""

    rows: Int64[np.ndarray, " n"]  # -1: there is none
    similarity: Float64[np.ndarray, " n"]
    excess: Float64[np.ndarray, " n"]  # of it over the mean similarity to the other photographs that were looked at


def nearest(images: Pixels, photographs: Pixels, groups: Groups, apart: tuple[Groups, Groups] | None = None) -> Nearest:
    """Each image's nearest photograph, by `alike`.

    `groups` are the photographs' leakage groups; `apart` as in `alike`. The excess tells a copy from an image that is a
    little like many photographs, since these are blurred or plain, as a ratio of distances does in Carlini et al. 2023,
    section 4.2. Photographs of the nearest one's group are not among the others.
    """
    found = alike(images, photographs, apart)
    each, best = np.arange(len(images)), found.similarity.argmax(axis=1)
    rows, similarity = found.rows[each, best], found.similarity[each, best]
    if not len(photographs):
        return Nearest(rows=rows, similarity=similarity, excess=np.zeros(len(images)))
    others = (found.rows >= 0) & (groups[found.rows] != groups[rows][:, None])
    mean = np.where(others, found.similarity, 0.0).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    return Nearest(rows=rows, similarity=similarity, excess=np.where(rows < 0, 0.0, similarity - mean))


def alike(images: Pixels, photographs: Pixels, apart: tuple[Groups, Groups] | None = None) -> Alike:
    """A few photographs that each image may be a copy of, rotated, flipped or slightly cropped too.

    `apart`: groups of the images and of the photographs; those of one group are not compared. Time grows with the
    product of both counts: 500 images and 5,000 photographs take some twenty seconds on one core.
    """
    similarity = np.full((len(images), _KEPT), -1.0)
    if not len(images) or not len(photographs):
        return Alike(rows=np.full(similarity.shape, -1), similarity=similarity)
    rows, ways = _candidates(images, photographs, apart)
    own, details = _gray(images), dict[int, NDArray[np.float32]]()
    for image, kept in enumerate(rows.tolist()):
        zoomed = _zoomed(own[image])
        for place, row in enumerate(kept):
            if row < 0:
                continue
            if row not in details:
                details[row] = _framed(_detail(_gray(photographs[row : row + 1])[0]))
            crop, turn = divmod(int(ways[image, place]), _TURNS)
            turned = [_turned(zoomed[zoom], turn) for zoom in _ZOOMS[crop]]
            similarity[image, place] = _best_match(turned, details[row])
    return Alike(rows=rows, similarity=similarity)


def similarity(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h w 3"]) -> float:
    """How alike two images are in the best of the eight rotations and flips, at the best zoom and shift."""
    own, framed = _gray(one[None])[0], _framed(_detail(_gray(other[None])[0]))
    zoomed = _zoomed(own).values()
    return max(_best_match([_turned(each, turn) for each in zoomed], framed) for turn in range(_TURNS))


def _candidates(
    images: Pixels, photographs: Pixels, apart: tuple[Groups, Groups] | None
) -> tuple[Int64[np.ndarray, "n kept"], Int64[np.ndarray, "n kept"]]:
    """Rows of the photographs that are most like each image when both are small, -1 for none, and in which way.

    The way is `_TURNS` times the number of the side in _CROPS, plus the turn of the image.
    """
    turned = [_unit(_parts(_turned_all(images, turn))[1.0][0]) for turn in range(_TURNS)]
    rows, ways = np.full((len(images), _KEPT), -1), np.zeros((len(images), _KEPT), np.int64)
    scores = np.full((len(images), _KEPT), -2.0, np.float32)
    for start in range(0, len(photographs), _BLOCK):
        block = slice(start, start + _BLOCK)
        score, way = _correlated(turned, photographs[block])
        if apart is not None:
            score[apart[0][:, None] == apart[1][None, block]] = -2.0
        every = np.concatenate([scores, score], axis=1)
        best = np.argsort(-every, axis=1, kind="stable")[:, :_KEPT]
        numbers = np.broadcast_to(np.arange(start, start + score.shape[1]), score.shape)
        scores = np.take_along_axis(every, best, axis=1)
        rows = np.take_along_axis(np.concatenate([rows, numbers], axis=1), best, axis=1)
        ways = np.take_along_axis(np.concatenate([ways, way], axis=1), best, axis=1)
    return np.where(scores > -2.0, rows, -1), ways  # noqa: PLR2004 - the mark of a pair that is not compared


def _correlated(
    turned: list[Float32[np.ndarray, "n width"]], photographs: Pixels
) -> tuple[Float32[np.ndarray, "n m"], Int8[np.ndarray, "n m"]]:
    """Correlation of small images, the best over turns and parts, and its way as in `_candidates`."""
    shape = (len(turned[0]), len(photographs))
    best, way = np.full(shape, -1.0, np.float32), np.zeros(shape, np.int8)
    for crop, parts in enumerate(_parts(photographs).values()):
        for small in map(_unit, parts):
            for turn, own in enumerate(turned):
                score = own @ small.T
                better = score > best
                np.copyto(best, score, where=better)
                np.copyto(way, np.int8(crop * _TURNS + turn), where=better)
    return best, way


def _parts(images: Pixels) -> dict[float, list[Float32[np.ndarray, "n 3 y x"]]]:
    """Small images of the parts of each image, by their side: the whole, then crops at nine places each."""
    whole = np.stack([_resized(image, SIDE // 2) for image in images]).astype(np.float32)
    whole, found = np.ascontiguousarray(whole.transpose(0, 3, 1, 2)), {}
    for side in _CROPS:
        shrink = [_shrink(start, side) for start in sorted({0.0, (1 - side) / 2, 1 - side})]
        rows = [matrix @ whole for matrix in shrink]  # [n 3 y whole]
        found[side] = [row @ matrix.T for row in rows for matrix in shrink]
    return found


def _shrink(start: float, side: float) -> Float32[np.ndarray, "small whole"]:
    """Weights of SIDE / 2 pixels in each of the _COARSE pixels of a part of them, by area; both are shares."""
    n = SIDE // 2
    edges = n * (start + side * np.arange(_COARSE + 1) / _COARSE)
    pixels = np.arange(n)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlap = np.maximum(overlap, 0)
    weights: Float32[np.ndarray, "small whole"] = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def _unit(small: Float32[np.ndarray, "n 3 y x"]) -> Float32[np.ndarray, "n width"]:
    """Small colour images less their mean colour, as vectors of unit length."""
    flat = (small - small.mean(axis=(2, 3), keepdims=True)).reshape(len(small), -1)
    norms = np.sqrt(np.einsum("np,np->n", flat, flat))[:, None]
    unit: Float32[np.ndarray, "n width"] = flat / np.maximum(norms, np.float32(1e-6))
    return unit


def _zoomed(gray: Float32[np.ndarray, "s s"]) -> dict[float, Float32[np.ndarray, "t t bands"]]:
    """Detail of an image as the part of a photograph with each side in _ZOOMS."""
    sides = sorted({zoom for zooms in _ZOOMS for zoom in zooms}, reverse=True)
    return {zoom: _detail(_resized(gray, round(SIDE * zoom))) for zoom in sides}


def _gray(images: Pixels) -> Float32[np.ndarray, "n side side"]:
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in images]
    return np.stack([_resized(image, SIDE) for image in gray])


def _resized(image: NDArray[Any], side: int) -> NDArray[Any]:
    """An image of another size, by area where it shrinks and bicubic where it grows."""
    if image.shape[:2] == (side, side):
        return image
    way = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=way))


def _detail(gray: Float32[np.ndarray, "s s"]) -> Float32[np.ndarray, "s s bands"]:
    """Detail of each band, of the same strength everywhere."""
    bands = []
    for fine, broad, window in _BANDS:
        smooth = cv2.GaussianBlur(gray, (0, 0), fine) if fine else gray
        detail = smooth - cv2.GaussianBlur(gray, (0, 0), broad)
        bands.append(detail / np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), window) + _NOISE))
    return np.stack(bands, axis=-1).astype(np.float32)


def _framed(detail: Float32[np.ndarray, "s s bands"]) -> Float32[np.ndarray, "t t bands"]:
    return np.asarray(cv2.copyMakeBorder(detail, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REFLECT))


def _best_match(zoomed: list[NDArray[np.float32]], framed: NDArray[np.float32]) -> float:
    """The highest correlation of an image's detail, at any zoom and shift, with a photograph's; 0 without any."""
    inner, best = slice(_MARGIN, -_MARGIN), 0.0
    for each in zoomed:
        part = np.ascontiguousarray(each[inner, inner])
        if part.std() > _LEAST_DETAIL:  # OpenCV gives 1 for a part without any
            best = max(best, float(cv2.matchTemplate(framed, part, cv2.TM_CCOEFF_NORMED).max()))
    return best


def _turned(image: NDArray[Any], turn: int) -> NDArray[Any]:
    """One of the eight rotations and flips."""
    rotated = np.rot90(image, turn % 4)
    return rotated if turn < 4 else rotated[:, ::-1]  # noqa: PLR2004 - see _TURNS


def _turned_all(images: Pixels, turn: int) -> Pixels:
    return np.stack([_turned(image, turn) for image in images])
