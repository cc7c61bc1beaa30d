"""The arms of a study: what each trains on, so that two arms differ in one thing.

*real* is the train part as it is; *oversampled* repeats the rare classes' images up to `fill_to`; *synthetic* fills
up to the same counts with synthetic images. The commonest class gets none. How much a class weighs in the loss is not
decided here: it is the same in every arm.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from data.errors import ConfigError, DataError
from data.manifest import Manifest
from data.splits.class_counts import fill_counts

ARMS = ("real", "oversampled", "synthetic")
KINDS = ("real", "repeated", "synthetic")  # of rows


def compose(
    arm: str, train: Manifest, synthetic: Manifest | None, rare: Sequence[str], fill_to: int | None = None
) -> Manifest:
    """Give the train table of an arm: the train part's rows, then what is added, class by class.

    Raises DataError where too few synthetic images are given, or one of another source.
    """
    if arm not in ARMS:
        raise ConfigError(f"arms names {arm!r}; known: {', '.join(ARMS)}")
    wanted = fill_counts(train, rare, fill_to)
    if arm == "real":
        return train
    if arm == "oversampled":
        return Manifest.concat(train, *(_repeats(train.of(label), n) for label, n in wanted.items() if n))
    return Manifest.concat(train, *(_first(synthetic, label, n) for label, n in wanted.items() if n))


def limit_to_shots(train: Manifest, shots: Mapping[str, Manifest]) -> Manifest:
    """Leave of each rare class only the images that the generator saw: "what if no more existed?"."""
    kept = train.table["label"] != ""
    for label, few in shots.items():
        kept &= (train.table["label"] != label) | train.table["image_id"].isin(set(few.table["image_id"]))
    return train.where(kept)


def counts_by_source(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Count what each class's rows are: `real` images, rows that are `repeated`, `synthetic` images."""
    table = manifest.table
    kind = table["source"].mask(table.duplicated(["root", "path"]), "repeated")
    return {
        label: {
            name: int(((table["label"] == label) & (kind == name)).sum()) for name in ("real", "repeated", "synthetic")
        }
        for label in manifest.labels
    }


def _repeats(few: Manifest, n: int) -> Manifest:
    """Give `n` rows that go round the class's images, each with an id of its own."""
    rows = few.table.iloc[[i % len(few) for i in range(n)]].reset_index(drop=True)
    rounds = pd.Series([str(i // len(few) + 2) for i in range(n)])
    return Manifest(rows.assign(image_id=rows["image_id"] + "~" + rounds), few.roots)


def _first(synthetic: Manifest | None, label: str, n: int) -> Manifest:
    there = synthetic.of(label) if synthetic is not None else None
    if there is None or len(there) < n:
        raise DataError(f"{label!r} needs {n} synthetic images, but {len(there or ())} are there; generate more")
    if (there.table["source"] != "synthetic").any():
        raise DataError(f"among the synthetic images of {label!r} is one whose source is 'real'")
    return Manifest(there.table.head(n).reset_index(drop=True), there.roots)
