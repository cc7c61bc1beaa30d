"""Train, validation and test parts that share no leakage group, and the few shots a generator may see."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass
from sklearn.model_selection import StratifiedGroupKFold

from data.config import STRICT
from data.errors import DataError
from data.manifest import PART, Manifest

log = logging.getLogger(__name__)

Share = Annotated[float, Field(gt=0, lt=0.9)]


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitConfig:
    """How the images are divided, and what the generator may see."""

    test: Share = 0.3  # share of the images, read once at the end; an official test set stands in its place
    validation: Share = 0.2  # share of the images (less an official test set), for choosing a checkpoint
    rare: tuple[str, ...] = ("akiec", "df", "vasc")  # classes that get synthetic images
    shots: Annotated[int, Field(ge=1)] = 16  # images a rare class, of distinct lesions; at most
    limit_real_to_shots: bool = False  # True: the classifier's rare classes are these images too


@dataclass(frozen=True)
class Split:
    """Three parts of a study. One with a shared group, or a synthetic image to be judged by, cannot be built."""

    train: Manifest
    validation: Manifest
    test: Manifest

    def __post_init__(self) -> None:
        """Raise DataError where a group stands in two parts or a synthetic image outside train."""
        for (name, part), (other_name, other) in combinations(self.parts().items(), 2):
            shared = set(part.table["group_id"]) & set(other.table["group_id"])
            if shared:
                raise DataError(
                    f"{len(shared)} leakage groups stand in both {name} and {other_name}, first "
                    f"{sorted(shared)[:3]}; split by group_id, not by image"
                )
        for name in ("validation", "test"):
            if (self.parts()[name].table["source"] != "real").any():
                raise DataError(f"the {name} part holds synthetic images; only train may")

    def parts(self) -> dict[str, Manifest]:
        """The parts by name, in order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def refuse_seen(self, groups: Iterable[str], by: str) -> None:
        """Raise DataError where something that was trained on these groups would be judged by one of them."""
        for name in ("validation", "test"):
            shared = set(groups) & set(self.parts()[name].table["group_id"])
            if shared:
                raise DataError(
                    f"{by} has seen {len(shared)} leakage groups of the {name} part, first {sorted(shared)[:3]}; "
                    "make it anew with this split"
                )


def make_split(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    """Stratified by label, never across a group; the shares hold as nearly as the groups allow.

    An official test set (`part` is "test") is the test part as it stands: what shares a group with it is left out of
    the others, so that its figures compare with those of others. Raises DataError for a rare class that the data lack
    and for a class with fewer groups than parts.
    """
    missing = sorted(set(config.rare) - set(manifest.labels))
    if missing:
        raise DataError(f"split.rare names {missing[0]!r}, which no image bears; labels: {', '.join(manifest.labels)}")
    split = _held_out(manifest, config, seed) if PART in manifest.table else _by_shares(manifest, config, seed)
    for name, part in split.parts().items():
        absent = sorted(set(manifest.labels) - set(part.labels))
        if absent:
            raise DataError(
                f"the {name} part got no image of {absent[0]!r}; give that class more lesions or leave it out"
            )
    return split


def few_shot(train: Manifest, label: str, shots: int, seed: int) -> Manifest:
    """At most `shots` images of a class, one a lesion, drawn by the seed, in id order.

    Raises DataError for fewer than two: nothing can be learnt from one.
    """
    real = train.where((train.table["label"] == label) & (train.table["source"] == "real"))
    shuffled = real.table.sample(frac=1, random_state=np.random.default_rng(seed))
    lesion = shuffled["lesion_id"].where(shuffled["lesion_id"] != "", shuffled["group_id"])
    one_each = shuffled[~lesion.duplicated()].drop_duplicates("group_id") if lesion.any() else shuffled
    chosen = set(one_each["image_id"].head(shots))
    if len(chosen) < 2:  # noqa: PLR2004
        raise DataError(f"{label!r} has {len(chosen)} lesion in the train part; a generator needs at least 2")
    return real.where(real.table["image_id"].isin(chosen))


def random_split_leakage(manifest: Manifest, test: float, seed: int) -> pd.DataFrame:
    """What a split by image would have leaked: a row a label with `label, images, leaked, share`.

    An image leaks when the train side of a random split holds another image of its group. The last row is `all`.
    """
    generator = np.random.default_rng(seed)
    tested = generator.random(len(manifest)) < test
    table = manifest.table.assign(tested=tested)
    trained = set(table.loc[~tested, "group_id"])
    table["leaked"] = table["tested"] & table["group_id"].isin(trained)
    rows = [(label, rows["tested"].sum(), rows["leaked"].sum()) for label, rows in table.groupby("label")]
    rows.append(("all", table["tested"].sum(), table["leaked"].sum()))
    counted = pd.DataFrame(rows, columns=["label", "images", "leaked"])
    return counted.assign(share=counted["leaked"] / counted["images"].clip(lower=1))


def _by_shares(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    if config.test + config.validation >= 1:
        raise DataError(f"split: test {config.test} + validation {config.validation} leaves nothing to train on")
    _enough_groups(manifest, "train", "validation", "test")
    rest, test = _cut(manifest, config.test, seed)
    train, validation = _cut(rest, config.validation / (1 - config.test), seed + 1)
    return Split(train, validation, test)


def _held_out(manifest: Manifest, config: SplitConfig, seed: int) -> Split:
    """Take the official test set as it stands, and divide what shares no leakage group with it."""
    official = manifest.table[PART] == "test"
    shared = ~official & manifest.table["group_id"].isin(set(manifest.table.loc[official, "group_id"]))
    if shared.any():
        log.warning(
            "%d images share a leakage group with the official test set and are left out of train and validation, "
            "first %s",
            shared.sum(),
            manifest.table.loc[shared, "image_id"].iloc[0],
        )
    rest = manifest.where(~official & ~shared)
    _enough_groups(rest, "train", "validation")
    train, validation = _cut(rest, config.validation, seed + 1)
    return Split(train, validation, manifest.where(official))


def _enough_groups(manifest: Manifest, *parts: str) -> None:
    groups = manifest.table.groupby("label")["group_id"].nunique()
    poor = groups[groups < len(parts)]
    if len(poor):
        raise DataError(
            f"{poor.index[0]!r} has {poor.iloc[0]} lesion groups; {' and '.join(parts)} need at least one each: add "
            "lesions or leave the class out"
        )


def _cut(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest]:
    """Cut off about `share` of the images: as many of 20 (or fewer) stratified grouped folds as come nearest."""
    labels, groups = manifest.table["label"], manifest.table["group_id"]
    scarce = int(manifest.table.groupby("label")["group_id"].nunique().min())
    folds = min(20, max(2, scarce))
    taken = min(folds - 1, max(1, round(share * folds)))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [held for _, held in splitter.split(np.zeros(len(labels)), labels, groups)]
    cut = pd.Series(data=False, index=manifest.table.index)
    cut.iloc[np.concatenate(parts[:taken])] = True
    return manifest.where(~cut), manifest.where(cut)
