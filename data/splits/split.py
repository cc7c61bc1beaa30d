"""Train, validation and test parts that share no leakage group, and the few shots that a generator is trained on."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass
from sklearn.model_selection import StratifiedGroupKFold

from data.config import STRICT
from data.errors import DataError, Fault, OnFault, refuse
from data.manifest import PART, Manifest
from data.splits.provenance import Provenance

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
Share = Annotated[float, Field(gt=0, lt=0.9)]


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitConfig:
    """How the images are divided, and what the generator is trained on."""

    test_size: Share = 0.3  # share of the images, evaluated once; ignored with n_splits or an official test set
    val_size: Share = 0.2  # share of the images (less an official test set), for choosing a checkpoint
    n_splits: Annotated[int, Field(ge=2)] | None = None  # k of a k-fold cross-validation; None = one split
    fold: Annotated[int, Field(ge=0)] | None = None  # the k-fold's test part, counted from 0; None = each in turn
    rare: tuple[str, ...] = ("akiec", "df", "vasc")  # classes that get synthetic images
    shots: Annotated[int, Field(ge=1)] = 16  # images a rare class, of distinct lesions; at most
    limit_real_to_shots: bool = False  # True: the classifier too gets only these real images of rare classes

    def __post_init__(self) -> None:
        """Raises ValueError for a fold that is none of the k."""
        if self.fold is not None and self.fold >= (self.n_splits or 0):
            last = (
                "`n_splits` is not set"
                if self.n_splits is None
                else f"the last of {self.n_splits} is {self.n_splits - 1}"
            )
            raise ValueError(f"there is no fold {self.fold}: {last}")

    @property
    def test_share(self) -> float:
        """Share of the images in the test part."""
        return 1 / self.n_splits if self.n_splits else self.test_size


@dataclass(frozen=True)
class Split:
    """Three parts of a study. It cannot be built with a shared group, or with synthetic images outside train."""

    train: Manifest
    validation: Manifest
    test: Manifest
    left_out: frozenset[str] = frozenset()  # ids of images in no part: they share a group with an official test set

    def __post_init__(self) -> None:
        """Raises DataError for a group in two parts and for a synthetic image outside train."""
        for (name, part), (other_name, other) in combinations(self.parts().items(), 2):
            shared = set(part.table["group_id"]) & set(other.table["group_id"])
            if shared:
                raise DataError(
                    f"{len(shared)} leakage groups are in both {name} and {other_name}, first "
                    f"{sorted(shared)[:3]}; split by group_id, not by image"
                )
        for name in ("validation", "test"):
            if (self.parts()[name].table["source"] != "real").any():
                raise DataError(f"the {name} part holds synthetic images; only train may")

    def parts(self) -> dict[str, Manifest]:
        """The parts by name, in order."""
        return dict(zip(PARTS, (self.train, self.validation, self.test), strict=True))

    def require_in_train(self, image_ids: Iterable[str], group_ids: Iterable[str], what: str) -> None:
        """Raise DataError for an image that is not in the train part under this leakage group."""
        groups = dict(zip(self.train.table["image_id"], self.train.table["group_id"], strict=True))
        outside = sorted({i for i, group in zip(image_ids, group_ids, strict=True) if groups.get(i) != group})
        if outside:
            raise DataError(
                f"{what}: {len(outside)} are not in the train part, first {outside[:3]}; only its images may be "
                "edited, so make them anew with this split"
            )

    def refuse_seen(self, provenance: Provenance, by: str, parts: Sequence[str] = PARTS[1:]) -> None:
        """Raise DataError if the model `by` was trained on a leakage group of these parts, which evaluate it."""
        related = sorted(provenance.image_ids & self.left_out)
        if related:
            raise DataError(
                f"{by} has seen {len(related)} images that share a leakage group with the test part, first "
                f"{related[:3]}; make it anew with this split"
            )
        for name in parts:
            shared = provenance.groups_in(self.parts()[name])
            if shared:
                raise DataError(
                    f"{by} has seen {len(shared)} leakage groups of the {name} part, first {sorted(shared)[:3]}; "
                    "make it anew with this split"
                )


def make_split(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    """Divide by group, stratified by label; the shares hold as nearly as the groups allow.

    An official test set (`part` is "test") is the test part, unchanged, so that results on it are comparable; images
    that share a group with it are in no part. A change of this rule raises the number of "split" in `flows/inputs.py`,
    so that no earlier split is reused. Raises DataError for a rare class that the data lack and for a class with too
    few groups.
    """
    check_classes(manifest, config)
    split = _official(manifest, config, seed) if PART in manifest.table else _by_shares(manifest, config, seed)
    for name, part in split.parts().items():
        absent = sorted(set(manifest.labels) - set(part.labels))
        if absent:
            raise DataError(
                f"the {name} part got no image of {absent[0]!r}; give that class more lesions or leave it out"
            )
    return split


def make_folds(manifest: Manifest, config: SplitConfig, seed: int) -> Iterator[Split]:
    """The splits of a k-fold cross-validation: each image is in the test part of exactly one."""
    folds = range(config.n_splits) if config.n_splits else (None,)
    return (make_split(manifest, replace(config, fold=fold), seed) for fold in folds)


def check_classes(
    manifest: Manifest, config: SplitConfig, on_fault: OnFault = refuse, unsure: Container[str] = ()
) -> None:
    """Report rare classes without images, and classes with too few groups for every part; `unsure` ones are not."""
    missing = tuple(
        f"split.rare names {label!r}, which no image has"
        for label in sorted(set(config.rare) - set(manifest.labels))
        if label not in unsure
    )
    if missing:
        on_fault(Fault("", missing, f"labels: {', '.join(manifest.labels)}"))
    official = PART in manifest.table
    if official and config.n_splits:
        both = f"split.n_splits is {config.n_splits}, but the test part is given"
        on_fault(Fault("", (both,), "leave it out, or data.test (of phantoms: data.phantom.test_lesions)"))
    divided, parts = (_unrelated_to_test(manifest), PARTS[:2]) if official else (manifest, PARTS)
    folds = 0 if official else config.n_splits or 0
    groups = divided.table.groupby("label")["group_id"].nunique().reindex(manifest.labels, fill_value=0)
    few = {label: n for label, n in groups.items() if n < max(len(parts), folds) and label not in unsure}
    if few:
        poor = tuple(f"{label!r} has {n} leakage group{'' if n == 1 else 's'}" for label, n in few.items())
        *others, last = parts
        what = f"the test parts of {folds} folds" if folds > len(parts) else f"{', '.join(others)} and {last}"
        on_fault(Fault("", poor, f"{what} need at least one each: add lesions or leave the class out"))


def few_shot(train: Manifest, label: str, shots: int, seed: int) -> Manifest:
    """At most `shots` images of a class, one a lesion, drawn by the seed, in id order.

    Raises DataError for fewer than two, which are too few to train on.
    """
    chosen = _one_a_lesion(_shuffled(train, label, seed)).head(shots)["image_id"]
    if len(chosen) < 2:  # noqa: PLR2004
        raise DataError(f"{label!r} has too few lesions in the train part, {len(chosen)}; a generator needs at least 2")
    return train.where(train.table["image_id"].isin(set(chosen)))


def first_photographs(train: Manifest, label: str, n: int, seed: int) -> Manifest:
    """At most `n` real images of a class: those of `few_shot` first, then other lesions, then further photographs.

    With the same seed a larger `n` holds all of a smaller one.
    """
    shuffled = _shuffled(train, label, seed)
    distinct = _one_a_lesion(shuffled)
    ordered = [*distinct["image_id"], *shuffled.drop(distinct.index)["image_id"]]
    return train.where(train.table["image_id"].isin(set(ordered[:n])))


def _shuffled(train: Manifest, label: str, seed: int) -> pd.DataFrame:
    real = train.where((train.table["label"] == label) & (train.table["source"] == "real"))
    return real.table.sample(frac=1, random_state=np.random.default_rng(seed))


def _one_a_lesion(rows: pd.DataFrame) -> pd.DataFrame:
    """The first image of each lesion, or of each leakage group where lesions are not known."""
    lesion = rows["lesion_id"].where(rows["lesion_id"] != "", rows["group_id"])
    return rows[~lesion.duplicated()].drop_duplicates("group_id") if lesion.any() else rows


def _by_shares(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    shares = f"test {config.test_share:g} + validation {config.val_size:g}"
    if config.test_share + config.val_size >= 1:
        raise DataError(f"split: {shares} leaves nothing to train on; lower one")
    if config.n_splits:
        if config.fold is None:
            raise ValueError("a split is of one fold, and `fold` is not set; see `make_folds`")
        rest, test = _fold_parts(manifest, config.n_splits, seed, [config.fold])
    else:
        rest, test = _cut(manifest, config.test_size, seed)
    train, validation = _cut(rest, config.val_size / (1 - config.test_share), seed + 1)
    return Split(train, validation, test)


def _official(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    """The official test set unchanged, and the images that share no leakage group with it divided into two."""
    rest = _unrelated_to_test(manifest)
    official = manifest.where(manifest.table[PART] == "test")
    shared = ~manifest.table["image_id"].isin({*rest.table["image_id"], *official.table["image_id"]})
    if shared.any():
        log.warning(
            "%d images share a leakage group with the official test set and are left out of train and validation, "
            "first %s",
            shared.sum(),
            manifest.table.loc[shared, "image_id"].iloc[0],
        )
    train, validation = _cut(rest, config.val_size, seed + 1)
    return Split(train, validation, official, frozenset(manifest.table.loc[shared, "image_id"]))


def _unrelated_to_test(manifest: Manifest) -> Manifest:
    """The images that share no leakage group with the official test set."""
    tested = set(manifest.table.loc[manifest.table[PART] == "test", "group_id"])
    return manifest.where(~manifest.table["group_id"].isin(tested))


def _cut(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest]:
    """Cut off about `share` of the images: as many of 20 (or fewer) stratified grouped folds as come nearest.

    Raises DataError for a class with one group, which cannot be on both sides.
    """
    groups = manifest.table.groupby("label")["group_id"].nunique()
    if groups.empty or groups.min() < 2:  # noqa: PLR2004 - one for each side
        what = "no image is" if groups.empty else f"of {groups.idxmin()!r} one leakage group is"
        raise DataError(
            f"{what} left beside the test part; train and validation need at least one each: add lesions, or leave "
            "the class out"
        )
    folds = min(20, int(groups.min()))
    taken = min(folds - 1, max(1, round(share * folds)))
    return _fold_parts(manifest, folds, seed, range(taken))


def _fold_parts(manifest: Manifest, folds: int, seed: int, taken: Iterable[int]) -> tuple[Manifest, Manifest]:
    """Divide into stratified grouped folds; returns the images of all other folds, then of those taken."""
    labels, groups = manifest.table["label"], manifest.table["group_id"]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [held for _, held in splitter.split(np.zeros(len(labels)), labels, groups)]
    cut = pd.Series(data=False, index=manifest.table.index)
    cut.iloc[np.concatenate([parts[fold] for fold in taken])] = True
    return manifest.where(~cut), manifest.where(cut)
