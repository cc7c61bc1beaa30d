"""The record of a split: its leakage groups, and what a random split would leak; on disk beside the parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from data.config import STRICT, parse
from data.manifest import PART, Manifest
from data.splits.duplicates import Links
from data.splits.split import PARTS, Split, SplitConfig
from data.store import read_json, write_json

RECORD = "leakage.json"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartCounts:
    """Counts of one part of a split."""

    images: int
    lesions: int  # a group without lesion ids counts as one
    groups: int
    by_class: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeakedImages:
    """Test images of a random split with another image of their group in train."""

    label: str  # or "all"
    images: int  # in test
    leaked: int
    share: float  # of leaked images


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeakageRecord:
    """What was joined into leakage groups, how they were divided, and what a random split would have leaked."""

    test: str  # "official", "by share" or "fold 0 of 5"
    left_out: tuple[str, ...]  # ids of images in no part
    groups: int
    links: Links
    parts: Mapping[str, PartCounts]
    shared_groups: int  # in more than one part
    random_split: tuple[LeakedImages, ...]  # by label, and of all

    @staticmethod
    def read(folder: Path) -> LeakageRecord:
        """Read the record in a split's folder. Raises OSError, ValueError or ConfigError."""
        return parse(LeakageRecord, read_json(folder / RECORD), str(folder / RECORD))

    def write(self, folder: Path) -> None:
        """Write the record into a split's folder."""
        write_json(folder / RECORD, self)


def leakage_record(joined: Manifest, links: Links, split: Split, config: SplitConfig, seed: int) -> LeakageRecord:
    """The record of a split; `joined` are all images with their leakage groups, `seed` is the split's."""
    official = PART in joined.table
    share = len(split.test) / len(joined) if official else config.test_share
    by_share = f"fold {config.fold} of {config.n_splits}" if config.n_splits else "by share"
    groups = [set(part.table["group_id"]) for part in split.parts().values()]
    leaked = random_split_leakage(joined, share, seed)
    return LeakageRecord(
        test="official" if official else by_share,
        left_out=tuple(sorted(split.left_out)),
        groups=joined.table["group_id"].nunique(),
        links=links,
        parts={name: _counts(part) for name, part in split.parts().items()},
        shared_groups=sum(map(len, groups)) - len(set.union(*groups)),
        random_split=tuple(LeakedImages(**{str(k): v for k, v in row.items()}) for row in leaked.to_dict("records")),
    )


def write_split(folder: Path, split: Split, record: LeakageRecord) -> None:
    """Write a CSV per part and the leakage record."""
    for name, part in split.parts().items():
        part.write(folder / f"{name}.csv")
    record.write(folder)


def read_split(folder: Path, roots: Mapping[str, Path]) -> Split:
    """Read a split that `write_split` wrote."""
    train, validation, test = (Manifest.read(folder / f"{name}.csv", roots) for name in PARTS)
    return Split(train, validation, test, frozenset(LeakageRecord.read(folder).left_out))


def random_split_leakage(manifest: Manifest, test: float, seed: int) -> pd.DataFrame:
    """What a random split by image would leak: one row per label with `label, images, leaked, share`.

    A test image leaks if train holds another image of its group. The last row is `all`.
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


def expected_leakage(manifest: Manifest, test: float) -> dict[str, float]:
    """Expected share of test images that a random split by image leaks, by label, and of `all`; exact.

    Each other image of an image's group is in test too with probability `test`; the image leaks unless all of them are.
    """
    size = manifest.table.groupby("group_id")["image_id"].transform("size")
    leaks = 1 - test ** (size - 1)
    by_label = {label: float(leaks[manifest.table["label"] == label].mean()) for label in manifest.labels}
    return {**by_label, "all": float(leaks.mean())}


def _counts(part: Manifest) -> PartCounts:
    lesions = part.table["lesion_id"].where(part.table["lesion_id"] != "", part.table["group_id"])
    return PartCounts(
        images=len(part),
        lesions=int(lesions.nunique()),
        groups=int(part.table["group_id"].nunique()),
        by_class=part.counts(),
    )
