"""How close drawn images come to true ones, and how much of their variety they have: figures over sets of features.

Whoever calls brings the features. A figure's error comes from random halves of both sets: drawing with replacement
would not do, since an image that is drawn twice is its own nearest neighbour. The halves of two comparisons of equal
size and seed are the same rows, so that the difference of two settings with the same image seeds is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

_MANIFOLD, _DENSITY = 3, 5  # nearest neighbours, as both papers recommend


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a comparison, and what it is in each of the random halves."""

    value: float
    halves: Float[np.ndarray, " halves"]

    @property
    def error(self) -> float:
        """Standard error: the delete-half jackknife (Shao and Wu 1989), whose factor is 1 for halves."""
        return float(self.halves.std())

    def less(self, other: Figure) -> Figure:
        """The difference to a comparison of the same true images and as many drawn ones, paired half by half."""
        return Figure(value=self.value - other.value, halves=self.halves - other.halves)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One number for each two images: of two true ones, of a true and a drawn one, of two drawn ones."""

    true: Float[np.ndarray, "n n"]
    between: Float[np.ndarray, "n m"]
    drawn: Float[np.ndarray, "m m"]

    def part(self, true: Int[np.ndarray, " rows"], drawn: Int[np.ndarray, " columns"]) -> Blocks:
        """The same of some of the images."""
        return Blocks(
            true=self.true[np.ix_(true, true)],
            between=self.between[np.ix_(true, drawn)],
            drawn=self.drawn[np.ix_(drawn, drawn)],
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sets of features by what all figures are made of, so that a half costs no new products."""

    products: Blocks
    distances: Blocks  # Euclidean
    width: int  # of a feature

    @staticmethod
    def of(true: Float[np.ndarray, "n width"], drawn: Float[np.ndarray, "m width"]) -> Pair:
        """Pair two sets. Raises ValueError for sets of other widths, too few images or values that are no numbers."""
        true, drawn = true.astype(np.float64), drawn.astype(np.float64)
        fewest = 2 * (_DENSITY + 1)
        if true.shape[1] != drawn.shape[1] or min(len(true), len(drawn)) < fewest:
            raise ValueError(f"features are {true.shape} and {drawn.shape}, wanted {fewest} or more of one width each")
        if not (np.isfinite(true).all() and np.isfinite(drawn).all()):
            raise ValueError("features hold values that are no numbers")
        return Pair(
            products=Blocks(true=true @ true.T, between=true @ drawn.T, drawn=drawn @ drawn.T),
            distances=Blocks(true=cdist(true, true), between=cdist(true, drawn), drawn=cdist(drawn, drawn)),
            width=true.shape[1],
        )

    def half(self, rng: np.random.Generator) -> Pair:
        """A random half of both sets."""
        n, m = self.products.between.shape
        rows = rng.permutation(n)[: n // 2], rng.permutation(m)[: m // 2]
        return Pair(products=self.products.part(*rows), distances=self.distances.part(*rows), width=self.width)


def compare(
    true: Float[np.ndarray, "n width"], drawn: Float[np.ndarray, "m width"], halves: int = 200, seed: int = 0
) -> dict[str, Figure]:
    """Every figure of FIGURES by its name. Raises ValueError for sets that cannot be compared."""
    pair, rng = Pair.of(true, drawn), np.random.default_rng(seed)
    parts = [pair.half(rng) for _ in range(halves)]
    return {
        name: Figure(value=figure(pair), halves=np.array([figure(part) for part in parts]))
        for name, figure in FIGURES.items()
    }


def mean(figures: Sequence[Figure]) -> Figure:
    """The mean over classes, whose images were halved apart."""
    together = np.mean([figure.halves for figure in figures], axis=0)
    return Figure(value=float(np.mean([figure.value for figure in figures])), halves=together)


def kernel_distance(pair: Pair) -> float:
    """KID: the unbiased squared mean discrepancy (Gretton et al. 2012, eq. 3) under (x'y / width + 1)^3.

    Binkowski et al. 2018. Its expectation does not depend on the number of images, and may come out below 0.
    """
    true, between, drawn = (
        (products / pair.width + 1) ** 3
        for products in (pair.products.true, pair.products.between, pair.products.drawn)
    )
    return float(_off_diagonal_mean(true) + _off_diagonal_mean(drawn) - 2 * between.mean())


def frechet_distance(pair: Pair) -> float:
    """FID's formula (Heusel et al. 2017, eq. 6) over these features; biased upwards for few images, as FID is.

    The trace of the root of the covariances' product is the sum of the singular values of the centred products
    between the sets, which takes no matrix of the features' width.
    """
    true, between, drawn = pair.products.true, pair.products.between, pair.products.drawn
    n, m = between.shape
    means = true.mean() + drawn.mean() - 2 * between.mean()
    variances = (np.trace(true) - n * true.mean()) / (n - 1) + (np.trace(drawn) - m * drawn.mean()) / (m - 1)
    centred = between - between.mean(axis=0) - between.mean(axis=1, keepdims=True) + between.mean()
    shared = np.linalg.norm(centred, "nuc") / np.sqrt((n - 1) * (m - 1))
    return float(means + variances - 2 * shared)


def precision(pair: Pair) -> float:
    """Share of the drawn images that lie among the true ones (Kynkäänniemi et al. 2019, eq. 1 and 2)."""
    reach = _reach(pair.distances.true, _MANIFOLD)
    return float((pair.distances.between <= reach[:, None]).any(axis=0).mean())


def recall(pair: Pair) -> float:
    """Share of the true images that lie among the drawn ones (the same). It grows with the number of images drawn."""
    reach = _reach(pair.distances.drawn, _MANIFOLD)
    return float((pair.distances.between <= reach).any(axis=1).mean())


def density(pair: Pair) -> float:
    """How many true images' neighbourhoods a drawn image lies in, over k (Naeem et al. 2020, section 3); may pass 1."""
    reach = _reach(pair.distances.true, _DENSITY)
    return float((pair.distances.between <= reach[:, None]).sum(axis=0).mean() / _DENSITY)


def coverage(pair: Pair) -> float:
    """Share of the true images in whose neighbourhood a drawn one lies (the same)."""
    reach = _reach(pair.distances.true, _DENSITY)
    return float((pair.distances.between <= reach[:, None]).any(axis=1).mean())


FIGURES: Mapping[str, Callable[[Pair], float]] = {
    figure.__name__: figure for figure in (kernel_distance, frechet_distance, precision, recall, density, coverage)
}


def _off_diagonal_mean(kernel: Float[np.ndarray, "n n"]) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _reach(distances: Float[np.ndarray, "n n"], k: int) -> Float[np.ndarray, " n"]:
    """How far the k-th nearest of the others is; the nearest of all is the image itself."""
    reach: Float[np.ndarray, " n"] = np.partition(distances, k, axis=1)[:, k]
    return reach
