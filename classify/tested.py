"""A test part with the arms' predictions of it, and how far each image and classifier moves an arm's figures.

A study may be repeated over draws of split, few-shot images and generator; each repeat has a `Tested`. Figures of an
arm are averaged over its seeds, then over the repeats. `influences` hold what each leakage group contributes to a
figure's deviation from its expectation (the infinitesimal jackknife of Efron 1982), so that variances of figures and of
differences between figures are sums of squares, whatever the groups' sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

Draws = Literal["one", "generators", "studies", "folds"]  # studies may be divided by folds too

BALANCED, WEIGHTED, FIRST_RECALL = 0, 1, 2  # figures, in order: balanced accuracy, plain accuracy, recalls by class


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One test part and the probabilities that each arm's classifiers give its images."""

    truth: Int[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " n"]  # leakage groups; a group is the same in every repeat that has its name
    probabilities: Mapping[str, Float[np.ndarray, "seeds n k"]]  # arm ->
    name: str = ""  # of the repeat
    draw: str = ""  # repeats of one draw share split and few-shot images, and differ in the generator alone
    folds: Int[np.ndarray, " n"] | None = None  # whose classifiers tested each image; None: the same for all

    def predicted(self, arm: str) -> Int[np.ndarray, "seeds n"]:
        """Number of the most probable class of each image, by seed."""
        likeliest: Int[np.ndarray, "seeds n"] = self.probabilities[arm].argmax(axis=2)
        return likeliest

    @staticmethod
    def of_classes(
        truth: Int[np.ndarray, " n"],
        groups: Shaped[np.ndarray, " n"],
        predicted: Mapping[str, Int[np.ndarray, "seeds n"]],
        n_classes: int,
    ) -> Tested:
        """One test part of which only the predicted classes are known."""
        probabilities = {arm: np.eye(n_classes)[named] for arm, named in predicted.items()}
        return Tested(truth=truth, groups=groups, probabilities=probabilities)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the repeats' test parts have in common, whatever the arm."""

    n_classes: int
    groups: tuple[Int[np.ndarray, " n"], ...]  # by repeat: number of each image's leakage group
    n_groups: int
    images: Int[np.ndarray, "repeats figures"]  # that each figure rests on
    holders: Int[np.ndarray, " figures"]  # leakage groups that each figure rests on, over all repeats
    clusters: tuple[Int[np.ndarray, " n"], ...]  # by repeat: number of each image's draw, or fold of a draw
    n_clusters: int
    draws: Draws  # what the clusters are

    @staticmethod
    def of(repeats: Sequence[Tested], n_classes: int) -> Layout:
        """Groups of one name are one group; draws of one name are one draw."""
        names, numbers = np.unique(np.concatenate([each.groups for each in repeats]), return_inverse=True)
        ends = np.cumsum([len(each.truth) for each in repeats])[:-1]
        held = np.zeros((len(names), n_classes), dtype=bool)
        held[numbers, np.concatenate([each.truth for each in repeats])] = True
        clusters = _clusters(repeats)
        return Layout(
            n_classes=n_classes,
            groups=tuple(np.split(numbers, ends)),
            n_groups=len(names),
            images=np.array([_supports(each.truth, n_classes) for each in repeats]),
            holders=np.array([len(names), len(names), *held.sum(axis=0)]),
            clusters=clusters,
            n_clusters=1 + max(int(each.max(initial=0)) for each in clusters),
            draws=_draws(repeats),
        )


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """An arm's figures by repeat and seed, and what each leakage group contributes to them."""

    values: Float[np.ndarray, "repeats seeds figures"]  # NaN for the recall of a class without an image
    influences: Float[np.ndarray, "figures repeats seeds groups"]  # on a value; each row sums to 0
    of_classes: Float[np.ndarray, "classes groups"]  # influences on balanced accuracy through each class's recall
    by_cluster: Float[np.ndarray, "clusters figures"]  # contributions of the draws; they sum to the figures' means
    distinct: tuple[int, ...]  # repeats whose classifiers no earlier repeat has
    is_one_draw: bool  # the same classifiers in all repeats, as of an arm without a generator's images

    @property
    def means(self) -> Float[np.ndarray, " figures"]:
        """The figures averaged over seeds, then over the repeats that have them."""
        means: Float[np.ndarray, " figures"] = _nanmean(self.values.mean(axis=1))
        return means


def arm_figures(repeats: Sequence[Tested], arm: str, layout: Layout) -> ArmFigures:
    """Figures and influences of an arm.

    Influences are enlarged by sqrt(g / (g - 1)) for a class in g groups, which makes their squares' sum unbiased.
    """
    seeds = {len(each.probabilities[arm]) for each in repeats}
    if len(seeds) != 1:
        raise ValueError(f"arm {arm!r} has {sorted(seeds)} seeds in its repeats; give each as many")
    n_figures = FIRST_RECALL + layout.n_classes
    shape = (len(repeats), seeds.pop())
    values = np.full((*shape, n_figures), np.nan)
    influences = np.zeros((n_figures, *shape, layout.n_groups))
    of_classes = np.zeros((layout.n_classes, layout.n_groups))
    for r, tested in enumerate(repeats):
        there = np.flatnonzero(layout.images[r, FIRST_RECALL:])
        for s, hit in enumerate((tested.predicted(arm) == tested.truth).astype(np.float64)):
            recalls = np.bincount(tested.truth, hit, layout.n_classes)[there] / layout.images[r, FIRST_RECALL + there]
            values[r, s, :FIRST_RECALL] = recalls.mean(), hit.mean()
            values[r, s, FIRST_RECALL + there] = recalls
            influences[WEIGHTED, r, s] = np.bincount(layout.groups[r], hit - hit.mean(), layout.n_groups) / len(hit)
            for recall, k in zip(recalls, there, strict=True):
                own = tested.truth == k
                influences[FIRST_RECALL + k, r, s] = (
                    np.bincount(layout.groups[r][own], hit[own] - recall, layout.n_groups) / own.sum()
                )
        of_classes[there] += influences[FIRST_RECALL + there, r].mean(axis=1) / len(there) / len(repeats)
        influences[BALANCED, r] = influences[FIRST_RECALL:, r].sum(axis=0) / max(len(there), 1)
    distinct = _distinct(repeats, arm)
    by_cluster = _by_cluster(values, influences, layout)
    factor = np.sqrt(layout.holders / np.maximum(layout.holders - 1, 1))
    influences[WEIGHTED:] *= factor[WEIGHTED:, None, None, None]
    for r in range(len(repeats)):
        classes = np.count_nonzero(layout.images[r, FIRST_RECALL:])
        influences[BALANCED, r] = influences[FIRST_RECALL:, r].sum(axis=0) / max(classes, 1)
    return ArmFigures(
        values=values,
        influences=influences,
        of_classes=of_classes * factor[FIRST_RECALL:, None],
        by_cluster=by_cluster,
        distinct=distinct,
        is_one_draw=len(distinct) == 1 and repeats[0].folds is None,
    )


def _by_cluster(
    values: Float[np.ndarray, "repeats seeds figures"],
    influences: Float[np.ndarray, "figures repeats seeds groups"],
    layout: Layout,
) -> Float[np.ndarray, "clusters figures"]:
    """What each draw contributes to the mean over repeats; a fold's share of a repeat by its groups' influences."""
    contributions = np.zeros((layout.n_clusters, values.shape[2]))
    means, share = np.nan_to_num(values.mean(axis=1)), 1 / len(values)
    for r, (groups, clusters) in enumerate(zip(layout.groups, layout.clusters, strict=True)):
        there = np.unique(clusters)
        of_group = np.full(layout.n_groups, -1)
        of_group[groups] = clusters
        for cluster in there:
            own = influences[:, r, :, of_group == cluster].sum(axis=0).mean(axis=1)
            contributions[cluster] += share * (means[r] / len(there) + (own if len(there) > 1 else 0.0))
    return contributions


def _distinct(repeats: Sequence[Tested], arm: str) -> tuple[int, ...]:
    """Repeats whose classifiers no earlier one has; generator seeds change those of generated images alone."""
    found: list[int] = []
    for r, each in enumerate(repeats):
        own = each.probabilities[arm]
        if not any(np.array_equal(own, repeats[earlier].probabilities[arm]) for earlier in found):
            found.append(r)
    return tuple(found)


def _nanmean(values: Float[np.ndarray, "repeats figures"]) -> Float[np.ndarray, " figures"]:
    there = ~np.isnan(values)
    sums, counts = np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0)
    means: Float[np.ndarray, " figures"] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _supports(truth: Int[np.ndarray, " n"], n_classes: int) -> Int[np.ndarray, " figures"]:
    return np.array([len(truth), len(truth), *np.bincount(truth, minlength=n_classes)])


def _clusters(repeats: Sequence[Tested]) -> tuple[Int[np.ndarray, " n"], ...]:
    """Number of each image's draw: draws of one study seed, each divided by its folds, else the repeats."""
    folded = [np.zeros(len(each.truth), dtype=np.int64) if each.folds is None else each.folds for each in repeats]
    names = list(dict.fromkeys(each.draw for each in repeats))
    if len(names) == 1 and all(each.folds is None for each in repeats):
        return tuple(np.full(len(each.truth), r) for r, each in enumerate(repeats))
    per_draw = 1 + max(int(folds.max(initial=0)) for folds in folded)
    return tuple(names.index(each.draw) * per_draw + folds for each, folds in zip(repeats, folded, strict=True))


def _draws(repeats: Sequence[Tested]) -> Draws:
    if len({each.draw for each in repeats}) > 1:
        return "studies"
    if any(each.folds is not None for each in repeats):
        return "folds"
    return "one" if len(repeats) == 1 else "generators"
