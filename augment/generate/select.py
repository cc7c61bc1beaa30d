"""The gate: which of a class's synthetic images a classifier may be trained on, and why the others are refused.

An image is refused that is a copy of a train photograph, that looks like one of the validation or test part, that a
classifier of the train part's photographs finds off its class, that is broken, or that is nearly another synthetic one.
Every limit follows from photographs: a copy is nearer to one photograph than another lesion's photograph ever is.

Validation and test images are read for protection alone, by their pixels and without their labels: a generator that has
memorised one would carry it into training. Nothing is chosen by them, and no limit depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import nct, norm

from augment.generate.copies import Nearest, alike, nearest
from augment.generate.defects import Limits, defects

COPY, LOOK_ALIKE, OFF_CLASS, REPEATED = "copy of train", "like validation or test", "off class", "like another"
FALSE_ALARMS = 0.01  # share of photographs of other lesions that pass a limit, at most; both parts make it 2 %
_CONFIDENCE = 0.95  # that they are no more
_LEAST_EXCESS = 1e-3  # of which a logarithm is taken
_FEW = 20  # photographs whose spread says little
_CAUGHT = 0.99  # share of planted copies that lie above the limit, at least; this comes first
_STRANGERS, _TWINS = 250, 60  # photographs and pairs that a class's limit and control are measured on, at most
_REPEATED = 0.9  # similarity of two synthetic images of which one says all; planted copies have 0.8 to 1

Pixels = UInt8[np.ndarray, "n h w 3"]


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Real images of all classes, as the gate compares them."""

    pixels: Pixels
    labels: NDArray[np.str_]  # empty for parts of which only the pixels are read
    groups: NDArray[np.str_]  # leakage groups
    lesions: NDArray[np.str_]  # "": not known


@dataclass(frozen=True, kw_only=True)
class CopyControl:
    """The excess above which an image of a class counts as a copy, and those that it was measured on."""

    limit: float
    strangers: Float[np.ndarray, " n"]  # of photographs with the nearest of another group; the class's own first
    own: int  # how many of these are of the class
    twins: Float[np.ndarray, " n"]  # of two photographs of one lesion of the class
    planted: Mapping[str, Float[np.ndarray, " n"]]  # of changed photographs with the nearest photograph, by change

    def to_record(self) -> dict[str, object]:
        """The limit and, by control, how many lie above it and their median; plain JSON."""
        sets = {"strangers": self.strangers[: self.own], "strangers of other classes": self.strangers[self.own :]}
        sets |= {"twins": self.twins} | {f"planted: {name}": found for name, found in self.planted.items()}
        controls = {
            name: {
                "n": len(found),
                "above": int((found > self.limit).sum()),
                "median": round(float(np.median(found)), 4) if len(found) else None,
            }
            for name, found in sets.items()
        }
        return {"limit": self.limit, "controls": controls}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was found of each image, in order."""

    reasons: tuple[tuple[str, ...], ...]  # for which it is refused; () for one that is kept
    train: Nearest
    evaluation: Nearest  # of validation and test images
    own_probability: Float[np.ndarray, " n"]  # of its class; NaN where no classifier could be trained

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each image may be trained on."""
        return np.array([not reasons for reasons in self.reasons], bool)

    def counts(self) -> dict[str, int]:
        """Images refused by reason; one with two reasons counts for both."""
        names = sorted({name for reasons in self.reasons for name in reasons})
        return {name: sum(name in reasons for reasons in self.reasons) for name in names}


def copy_control(photographs: Photographs, label: str, planted: Mapping[str, Pixels], seed: int = 0) -> CopyControl:
    """The limit of a class: above the excess of photographs of other lesions, and below that of planted copies.

    A class with few photographs borrows those of the others; of its own none passes, and of many few. `planted` are
    changed photographs of the class, by change.
    """
    rows, own = _strangers(photographs, label, np.random.default_rng(seed))
    pixels, groups = photographs.pixels, photographs.groups
    strangers = nearest(pixels[rows], pixels, groups, apart=(groups[rows], groups)).excess
    found = {change: nearest(copies, pixels, groups).excess for change, copies in planted.items()}
    limit = max(_limit(strangers), _limit(strangers[:own]) if own >= _FEW else max(strangers[:own], default=0.0))
    limit = min([limit, *(_lowest(each) for each in found.values() if len(each))])
    return CopyControl(
        limit=limit, strangers=strangers, own=own, twins=_twin_excess(photographs, label, seed), planted=found
    )


def select(
    *,
    files: Iterable[NDArray[np.generic]],
    images: Pixels,
    train: Photographs,
    evaluation: Photographs,
    copies_above: float,
    limits: Limits,
    own_probability: Float[np.ndarray, " n"] | None = None,
    least_probability: float = 0.0,
) -> Selection:
    """Every image of a class and the reasons for which it is refused.

    `files` are the images as they lie in their files, `images` the same as they are compared with photographs.
    """
    near, held_out = (nearest(images, part.pixels, part.groups) for part in (train, evaluation))
    probability = np.full(len(images), np.nan) if own_probability is None else own_probability
    reasons = [
        [
            *defects(file, limits),
            *([COPY] if near.excess[row] > copies_above else []),
            *([LOOK_ALIKE] if held_out.excess[row] > copies_above else []),
            *([OFF_CLASS] if probability[row] < least_probability else []),
        ]
        for row, file in enumerate(files)
    ]
    for row in _repeated(images, [not found for found in reasons]):
        reasons[row].append(REPEATED)
    return Selection(
        reasons=tuple(tuple(found) for found in reasons), train=near, evaluation=held_out, own_probability=probability
    )


def _limit(excess: Float[np.ndarray, " n"]) -> float:
    """The excess that at most FALSE_ALARMS of all strangers have, with _CONFIDENCE; 1 where fewer than two are known.

    A one-sided tolerance limit (Hahn and Meeker 1991, section 4.6) of its logarithm, which is normal by and large, or
    the quantile of conformal prediction (Vovk et al. 2005) where the tail is longer than that.
    """
    compared = np.sort(excess[excess > 0])
    n = len(compared)
    if n < 2:  # noqa: PLR2004 - a standard deviation needs two
        return 1.0
    rank = min(n, int(np.ceil((1 - FALSE_ALARMS) * (n + 1))))
    return float(min(1.0, max(compared[rank - 1], _tolerance(compared, FALSE_ALARMS, 1))))


def _lowest(excess: Float[np.ndarray, " n"]) -> float:
    """The excess that at least _CAUGHT of the copies changed in one way pass, with _CONFIDENCE, and all known ones."""
    below = float(excess.min()) - _LEAST_EXCESS
    return below if len(excess) < _FEW else min(below, _tolerance(excess, 1 - _CAUGHT, -1))


def _tolerance(excess: Float[np.ndarray, " n"], share: float, side: int) -> float:
    """The level beyond which at most a share lies, upwards (side 1) or downwards (-1), with _CONFIDENCE."""
    n, logs = len(excess), np.log(np.maximum(excess, _LEAST_EXCESS))
    factor = nct.ppf(_CONFIDENCE, n - 1, norm.ppf(1 - share) * np.sqrt(n)) / np.sqrt(n)
    return float(np.exp(logs.mean() + side * factor * logs.std(ddof=1)))


def _strangers(photographs: Photographs, label: str, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Rows of the class's photographs, then those of the others in turn that are lacking; and how many are its own."""
    order = rng.permutation(len(photographs.labels))
    own = order[photographs.labels[order] == label][:_STRANGERS]
    others = order[photographs.labels[order] != label]
    place = np.zeros(len(others), np.int64)
    for other in set(photographs.labels[others].tolist()):
        of = photographs.labels[others] == other
        place[of] = np.arange(of.sum())
    further = others[np.argsort(place, kind="stable")][: max(0, _STRANGERS - len(own))]
    return np.concatenate([own, further]), len(own)


def _twin_excess(photographs: Photographs, label: str, seed: int) -> Float[np.ndarray, " n"]:
    """Of one photograph of a lesion over another of the same: compared with all, as if it were a synthetic image."""
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero((photographs.labels == label) & (photographs.lesions != "")).tolist():
        rows.setdefault(photographs.lesions[row], []).append(row)
    ones = np.array([found[0] for found in rows.values() if len(found) > 1], np.int64)
    ones = np.random.default_rng(seed).permutation(ones)[:_TWINS]
    pixels, numbers = photographs.pixels, np.arange(len(photographs.labels))
    return nearest(pixels[ones], pixels, photographs.groups, apart=(numbers[ones], numbers)).excess


def _repeated(images: Pixels, is_sound: Sequence[bool]) -> list[int]:
    """Rows of images that are nearly another, sound one before them; of each such set the first sound one is left."""
    numbers = np.arange(len(images))
    found = alike(images, images, (numbers, numbers))
    edges = np.argwhere(found.similarity > _REPEATED)
    if not len(edges):
        return []
    others = found.rows[edges[:, 0], edges[:, 1]]
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], others)), shape=(len(images), len(images)))
    taken, repeated = set[int](), []
    for row, set_ in enumerate(connected_components(graph, directed=False)[1].tolist()):
        if set_ in taken:
            repeated.append(row)
        elif is_sound[row]:
            taken.add(set_)
    return repeated
