"""Leakage groups: images joined by lesion, by patient, or because they are near-duplicates.

Near-duplicates are found in four steps, each slower and more precise than the one before: a perceptual hash in all
eight rotations and flips, the correlation of fine detail, the same with a shift, and the same after an affine
alignment. Different moles of similar outline agree in hash and brightness, but not in texture. On HAM10000 the last
step leaves a gap between 0.57 (the highest correlation of different moles) and 0.72 (the lowest of true pairs).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8, UInt64
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data.manifest import Manifest
from data.progress import Progress

Number = TypeVar("Number", bound=np.generic)

log = logging.getLogger(__name__)

SIDE = 64  # pixels a side that near-duplicates need; smaller images have too little detail
_KNOWN = ("lesion_id", "patient_id", "group_id")  # in the order in which links are counted
_TURNS = 8  # four rotations, each with and without a flip
_BLOCK = 512  # images compared with all later ones at a time

_HASH_BITS = 16  # of 64 that may differ
_COARSE_IF_CLOSE = 0.45  # correlation at 24 px, unshifted, if the hashes agree
_COARSE = 0.6  # if they do not: a shift of 2 % can change 22 bits
_FINE = 0.5  # correlation at 48 px, shifted by at most _SHIFT
_SHIFT = 3  # pixels of 48
_ALIGNED = 0.65  # correlation at 64 px after an affine alignment: what counts as the same photograph


@dataclass(frozen=True)
class Links:
    """Joins by reason: each joins two groups, so the number of groups is that of images minus all joins.

    Counted in this order; a near-duplicate within a lesion joins nothing.
    """

    lesion: int
    patient: int
    group: int  # by the table's group column
    duplicate: int


def leakage_groups(manifest: Manifest, pixels: UInt8[np.ndarray, "n s s 3"]) -> tuple[Manifest, Links]:
    """Set `group_id` to the connected components of same lesion, same patient, same group and near-duplicate.

    A group is named by the first of its image ids. `pixels` are the manifest's, 64 px a side or more.
    """
    duplicates = near_duplicates(pixels, known_groups(manifest))
    ids = manifest.table["image_id"]
    for one, other in duplicates:
        log.info("near-duplicates in different groups: %s and %s", ids[one], ids[other])
    return link(manifest, duplicates)


def known_groups(manifest: Manifest) -> Int64[np.ndarray, " n"]:
    """Number the groups in the table: same lesion, same patient or same group."""
    return _components(len(manifest), np.concatenate([_chain(manifest.table[name]) for name in _KNOWN]))


def link(manifest: Manifest, duplicates: Int64[np.ndarray, "pairs 2"]) -> tuple[Manifest, Links]:
    """Set `group_id` as `leakage_groups` does, by near-duplicates found before."""
    table = manifest.table
    n_groups, groups, edges = [len(table)], np.arange(len(table)), np.empty((0, 2), np.int64)
    for more in (*(_chain(table[name]) for name in _KNOWN), duplicates):
        edges = np.concatenate([edges, more])
        groups = _components(len(table), edges)
        n_groups.append(len(set(groups)))
    names = table["image_id"].groupby(groups).transform("min")
    return Manifest(table.assign(group_id=names), manifest.roots), Links(*(-np.diff(n_groups)).tolist())


def near_duplicates(
    pixels: UInt8[np.ndarray, "n s s 3"],
    groups: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
    first: int | None = None,
) -> Int64[np.ndarray, "pairs 2"]:
    """The pairs of rows that show nearly the same photograph, also rotated or flipped.

    Pairs within one of `groups` are not compared. Time grows with n squared: 10,000 images take a minute or two.
    With `first`, only the first so many rows are compared with all later ones. Progress counts rows.
    """
    if len(pixels) and pixels.shape[1] < SIDE:
        raise ValueError(f"pixels are {pixels.shape[1]} a side; near-duplicates need {SIDE} or more")
    if len(pixels) == 0:
        return np.empty((0, 2), np.int64)
    gray = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pixels])
    coarse, fine, hashes = _detail(gray, 24, 1.5, 3.0), _detail(gray, 48, 2.0, 6.0), perceptual_hashes(gray)
    best: dict[tuple[int, int], tuple[float, int]] = {}
    rows = len(gray) if first is None else min(first, len(gray))
    for turn in range(_TURNS):
        for block, alike in enumerate(_alike(coarse, _turned(coarse, turn), hashes[0], hashes[turn], rows), start=1):
            apart = alike if groups is None else alike[groups[alike[:, 0]] != groups[alike[:, 1]]]
            for one, other in apart.tolist():
                score = _shifted_correlation(fine[one], _turned(fine[other], turn))
                if score > max(_FINE, best.get((one, other), (0.0, 0))[0]):
                    best[one, other] = (score, turn)
            if progress is not None:
                progress((turn * rows + min(rows, block * _BLOCK)) // _TURNS, rows)
    sure = [pair for pair, (_, turn) in sorted(best.items()) if _same_photograph(gray, pair, turn)]
    return np.array(sure, np.int64).reshape(-1, 2)


def perceptual_hashes(gray: UInt8[np.ndarray, "n s s"]) -> UInt64[np.ndarray, "turns n"]:
    """Hash all images in all eight orientations, with the bits of `imagehash.phash` of the 32 px image."""
    small = np.stack([np.asarray(Image.fromarray(g).resize((32, 32), Image.Resampling.LANCZOS)) for g in gray])
    hashes = np.empty((_TURNS, len(gray)), np.uint64)
    for turn in range(_TURNS):
        low = dctn(_turned(small, turn).astype(np.float64), axes=(1, 2))[:, :8, :8].reshape(-1, 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes[turn] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return hashes


def _alike(
    detail: Float32[np.ndarray, "n s s"],
    turned: Float32[np.ndarray, "n s s"],
    hashes: UInt64[np.ndarray, " n"],
    turned_hashes: UInt64[np.ndarray, " n"],
    rows: int,
) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """Pairs of the first `rows` with later, turned ones that agree in hash and some detail, or in more detail."""
    flat, turned_flat = _normalised(detail), _normalised(turned)
    for start in range(0, rows, _BLOCK):
        block = slice(start, min(start + _BLOCK, rows))
        correlation = flat[block] @ turned_flat[start:].T
        close = np.bitwise_count(hashes[block, None] ^ turned_hashes[None, start:]) <= _HASH_BITS
        pairs = np.argwhere((correlation > _COARSE) | (close & (correlation > _COARSE_IF_CLOSE)))
        yield pairs[pairs[:, 0] < pairs[:, 1]] + start


def _normalised(detail: Float32[np.ndarray, "n s s"]) -> Float32[np.ndarray, "n pixels"]:
    flat = detail.reshape(len(detail), -1)
    unit: NDArray[np.float32] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.float32(1e-6))
    return unit


def _turned(images: NDArray[Number], turn: int) -> NDArray[Number]:
    rotated = np.rot90(images, turn % 4, axes=(-2, -1))
    return np.ascontiguousarray(rotated if turn < 4 else rotated[..., ::-1])  # noqa: PLR2004 - see _TURNS


def _detail(
    gray: UInt8[np.ndarray, "n s s"], size: int, sigma: float, window: float
) -> Float32[np.ndarray, "n size size"]:
    small = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in gray]
    return np.stack([_equalised(image.astype(np.float32), sigma, window) for image in small])


def _equalised(image: NDArray[np.float32], sigma: float, window: float) -> NDArray[np.float32]:
    """Detail finer than sigma, scaled to the same strength everywhere: light, colour and outline are removed."""
    fine = image - cv2.GaussianBlur(image, (0, 0), sigma)
    strength = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), window) + 4)  # 4: one or two grey levels are noise
    return np.asarray(fine / strength, np.float32)


def _shifted_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    inner = one[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    return float(cv2.matchTemplate(other, inner, cv2.TM_CCOEFF_NORMED).max())


def _same_photograph(gray: UInt8[np.ndarray, "n s s"], pair: tuple[int, int], turn: int) -> bool:
    size = SIDE
    one, other = (cv2.resize(gray[row], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) for row in pair)
    other = _turned(other, turn)
    start = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-4)
    outlines = [_equalised(image, 6.0, 12.0) for image in (one, other)]
    try:
        _, warp = cv2.findTransformECC(outlines[0], outlines[1], start, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:  # no convergence: the two have nothing in common to align
        return False
    how = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    aligned = cv2.warpAffine(other, warp, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(other), warp, (size, size), flags=how) > 0.99  # noqa: PLR2004 - all of a pixel
    inside[:_SHIFT], inside[-_SHIFT:], inside[:, :_SHIFT], inside[:, -_SHIFT:] = False, False, False, False
    if inside.mean() < 0.5:  # noqa: PLR2004 - too little overlap
        return False
    return bool(np.corrcoef(*(_equalised(image, 1.5, 4.5)[inside] for image in (one, aligned)))[0, 1] > _ALIGNED)


def _chain(ids: Iterable[str]) -> Int64[np.ndarray, "edges 2"]:
    """Join the rows of each id, one to the next; an empty id joins nothing."""
    last: dict[str, int] = {}
    edges = []
    for row, name in enumerate(ids):
        if name and name in last:
            edges.append((last[name], row))
        last[name] = row
    return np.array(edges, np.int64).reshape(-1, 2)


def _components(n: int, edges: Int64[np.ndarray, "edges 2"]) -> NDArray[np.int64]:
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
