"""Fidelity and diversity of generated images against real ones, computed from two sets of features.

The caller brings the features. A figure's standard error comes from random halves of both sets: sampling with
replacement would not do, since an image that is sampled twice is its own nearest neighbour. Two comparisons of equal
size and seed use the same rows for their halves, so the difference of two settings with the same image seeds is paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

_MANIFOLD, _DENSITY = 3, 5  # nearest neighbours, as the two papers recommend
FEWEST = 2 * (_DENSITY + 1)  # images of a set: a half has as many as its neighbourhoods need
FEWEST_DISTANCE = 6  # of a set whose distance alone is measured; a half has three pairs


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a comparison, over the whole sets and over each of the random halves."""

    value: float
    halves: Float[np.ndarray, " halves"]

    @property
    def error(self) -> float:
        """Standard error: the delete-half jackknife (Shao and Wu 1989), whose factor is 1 for halves."""
        return float(self.halves.std())

    def less(self, other: Figure) -> Figure:
        """Difference to a comparison of the same real images and as many generated ones, paired half by half."""
        return Figure(value=self.value - other.value, halves=self.halves - other.halves)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Pairwise matrices: real with real, real with generated, generated with generated."""

    real: Float[np.ndarray, "n n"]
    between: Float[np.ndarray, "n m"]
    generated: Float[np.ndarray, "m m"]

    def part(self, real: Int[np.ndarray, " rows"], generated: Int[np.ndarray, " columns"]) -> Blocks:
        """The same matrices for some of the images."""
        return Blocks(
            real=self.real[np.ix_(real, real)],
            between=self.between[np.ix_(real, generated)],
            generated=self.generated[np.ix_(generated, generated)],
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Products and distances of two sets of features, which all figures use: a half needs no new products."""

    products: Blocks
    distances: Blocks  # Euclidean
    width: int  # numbers in a feature

    @staticmethod
    def of(real: Float[np.ndarray, "n width"], generated: Float[np.ndarray, "m width"], fewest: int = FEWEST) -> Pair:
        """Pair two sets. Raises ValueError for unequal widths, too few images or values that are not finite."""
        real, generated = real.astype(np.float64), generated.astype(np.float64)
        if real.shape[1] != generated.shape[1] or min(len(real), len(generated)) < fewest:
            raise ValueError(f"features are {real.shape} and {generated.shape}, wanted {fewest} or more of equal width")
        if not (np.isfinite(real).all() and np.isfinite(generated).all()):
            raise ValueError("features hold values that are not finite")
        return Pair(
            products=Blocks(real=real @ real.T, between=real @ generated.T, generated=generated @ generated.T),
            distances=Blocks(
                real=cdist(real, real), between=cdist(real, generated), generated=cdist(generated, generated)
            ),
            width=real.shape[1],
        )

    def half(self, rng: np.random.Generator) -> Pair:
        """A random half of both sets."""
        n, m = self.products.between.shape
        return self.part(rng.permutation(n)[: n // 2], rng.permutation(m)[: m // 2])

    def part(self, real: Int[np.ndarray, " rows"], generated: Int[np.ndarray, " columns"]) -> Pair:
        """The same pair for some of the images."""
        products, distances = self.products.part(real, generated), self.distances.part(real, generated)
        return Pair(products=products, distances=distances, width=self.width)


def compare(
    real: Float[np.ndarray, "n width"], generated: Float[np.ndarray, "m width"], halves: int = 200, seed: int = 0
) -> dict[str, Figure]:
    """Every figure of FIGURES by its name. Raises ValueError for sets that cannot be compared."""
    pair, rng = Pair.of(real, generated), np.random.default_rng(seed)
    parts = [pair.half(rng) for _ in range(halves)]
    return {name: _measured(figure, pair, parts) for name, figure in FIGURES.items()}


def compare_distance(
    real: Float[np.ndarray, "n width"], generated: Float[np.ndarray, "m width"], halves: int = 200, seed: int = 0
) -> Figure:
    """The kernel distance alone, which takes no neighbourhoods and so no more than `FEWEST_DISTANCE` images a set."""
    pair, rng = Pair.of(real, generated, FEWEST_DISTANCE), np.random.default_rng(seed)
    return _measured(kernel_distance, pair, [pair.half(rng) for _ in range(halves)])


def scale_of(features: Float[np.ndarray, "n width"]) -> float:
    """Root mean square of the features, by which sets are divided before their kernel distance is taken.

    The kernel has a scale of its own, chosen for Inception's features: with larger ones its cube follows the few
    images of the largest norm.
    """
    return float(np.sqrt(np.square(features.astype(np.float64)).sum() / max(1, features.size))) or 1.0


def mean(figures: Sequence[Figure]) -> Figure:
    """The mean over classes, each with halves of its own."""
    halves = np.mean([figure.halves for figure in figures], axis=0)
    return Figure(value=float(np.mean([figure.value for figure in figures])), halves=halves)


def kernel_distance(pair: Pair) -> float:
    """KID: the unbiased squared mean discrepancy (Gretton et al. 2012, eq. 3) under (x'y / width + 1)^3.

    Binkowski et al. 2018. Its expectation does not depend on the number of images, and may come out below 0.
    """
    real, between, generated = (
        (products / pair.width + 1) ** 3
        for products in (pair.products.real, pair.products.between, pair.products.generated)
    )
    return float(_off_diagonal_mean(real) + _off_diagonal_mean(generated) - 2 * between.mean())


def frechet_distance(pair: Pair) -> float:
    """FID's formula (Heusel et al. 2017, eq. 6) over these features; biased upwards for few images, as FID is.

    The trace of the root of the covariances' product is the sum of the singular values of the centred products
    between the sets, which takes no matrix of the features' width.
    """
    real, between, generated = pair.products.real, pair.products.between, pair.products.generated
    n, m = between.shape
    means = real.mean() + generated.mean() - 2 * between.mean()
    variances = (np.trace(real) - n * real.mean()) / (n - 1) + (np.trace(generated) - m * generated.mean()) / (m - 1)
    centred = between - between.mean(axis=0) - between.mean(axis=1, keepdims=True) + between.mean()
    shared = np.linalg.norm(centred, "nuc") / np.sqrt((n - 1) * (m - 1))
    return float(means + variances - 2 * shared)


def precision(pair: Pair) -> float:
    """Share of the generated images that lie among the real ones (Kynkäänniemi et al. 2019, eq. 1 and 2)."""
    radii = _radii(pair.distances.real, _MANIFOLD)
    return float((pair.distances.between <= radii[:, None]).any(axis=0).mean())


def recall(pair: Pair) -> float:
    """Share of the real images that lie among the generated ones (eq. 1 and 2 too); it grows with their number."""
    radii = _radii(pair.distances.generated, _MANIFOLD)
    return float((pair.distances.between <= radii).any(axis=1).mean())


def density(pair: Pair) -> float:
    """Mean number of real images' neighbourhoods that hold a generated image, over k; may exceed 1.

    Naeem et al. 2020, section 3.
    """
    radii = _radii(pair.distances.real, _DENSITY)
    return float((pair.distances.between <= radii[:, None]).sum(axis=0).mean() / _DENSITY)


def coverage(pair: Pair) -> float:
    """Share of the real images in whose neighbourhood a generated one lies. Naeem et al. 2020, section 3."""
    radii = _radii(pair.distances.real, _DENSITY)
    return float((pair.distances.between <= radii[:, None]).any(axis=1).mean())


FIGURES: Mapping[str, Callable[[Pair], float]] = {
    figure.__name__: figure for figure in (kernel_distance, frechet_distance, precision, recall, density, coverage)
}


def _measured(figure: Callable[[Pair], float], pair: Pair, parts: Sequence[Pair]) -> Figure:
    return Figure(value=figure(pair), halves=np.array([figure(part) for part in parts]))


def _off_diagonal_mean(kernel: Float[np.ndarray, "n n"]) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _radii(distances: Float[np.ndarray, "n n"], k: int) -> Float[np.ndarray, " n"]:
    """Distance from each image to its k-th nearest neighbour; the nearest image of all is the image itself."""
    radii: Float[np.ndarray, " n"] = np.partition(distances, k, axis=1)[:, k]
    return radii
