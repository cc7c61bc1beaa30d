"""The arms of a study: what each trains on, and its words in reports; a row of `ARMS` each.

Arms differ in the images that rare classes are filled up with. *real* is the train part as it is; *oversampled* repeats
the rare classes' images up to `fill_to`; *synthetic* adds synthetic images up to the same counts; *autoencoded* repeats
reconstructions of the real ones by the base's autoencoder. The commonest class gets none. Class weights in the loss are
the same in every arm, and are not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from data.errors import DataError
from data.manifest import Manifest

Source = Literal["", "train", "synthetic", "autoencoded", "external"]  # of what rare classes are filled up with
Mark = Literal["circle", "square", "diamond", "hexagon", "triangle", "cross"]  # shape in figures
Rows = Callable[[Manifest, int], Manifest]  # so many rows from a class's images


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm: what its rare classes are filled up with, what it is compared with, and its words."""

    name: str
    source: Source
    rows: Rows | None  # how the rows that are added are taken from the source's images; None: nothing is added
    compared_with: tuple[str, ...]  # arms that it is compared with, the most informative first
    mark: Mark
    note: str  # what it trains on, in words
    subject: str  # of a sentence that says what the arm did
    questions: Mapping[str, str] = field(default_factory=dict)  # by arm: what the difference to it measures
    is_generated: bool = False  # whether its images are a generator's, so that it answers the study's question


def repeated(images: Manifest, n: int) -> Manifest:
    """`n` rows that repeat the class's images in turn, each with an id of its own."""
    rows = images.table.iloc[[i % len(images) for i in range(n)]].reset_index(drop=True)
    rounds = pd.Series([str(i // len(images) + 2) for i in range(n)])
    return Manifest(rows.assign(image_id=rows["image_id"] + "~" + rounds), images.roots)


def first(images: Manifest, n: int) -> Manifest:
    """The first `n` rows. Raises DataError for fewer images, or for a real one among them."""
    if len(images) < n:
        labels = ", ".join(images.labels) or "a class"
        raise DataError(f"{labels!r} needs {n} synthetic images, but {len(images)} are there; generate more")
    if (images.table["source"] != "synthetic").any():
        raise DataError(f"among the synthetic images of {images.labels[0]!r} is one whose source is 'real'")
    return Manifest(images.table.head(n).reset_index(drop=True), images.roots)


_CONTENT = "what the content of the synthetic images brings: the counts are equal"
_BOTH = "what content and re-balancing bring together"

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            name="real",
            source="",
            rows=None,
            compared_with=(),
            mark="circle",
            note="the training images as they are",
            subject="Real images alone",
        ),
        Arm(
            name="oversampled",
            source="train",
            rows=repeated,
            compared_with=("real",),
            mark="square",
            note="rare classes repeated, with ordinary augmentation, up to the same counts as with synthetic images",
            subject="Repeating real images",
            questions={"real": "what re-balancing alone brings"},
        ),
        Arm(
            name="autoencoded",
            source="autoencoded",
            rows=repeated,
            compared_with=("oversampled", "real"),
            mark="hexagon",
            note="rare classes filled up to the same counts with real images reconstructed by the base’s autoencoder",
            subject="Passing real images through the autoencoder",
            questions={
                "oversampled": "what the coding of images brings by itself: the same images, the same counts",
                "real": "what coding and re-balancing bring together",
            },
        ),
        Arm(
            name="synthetic",
            source="synthetic",
            rows=first,
            compared_with=("oversampled", "real", "autoencoded"),
            mark="diamond",
            note="rare classes filled up with synthetic images to those counts",
            subject="Synthetic images",
            questions={
                "oversampled": _CONTENT,
                "real": _BOTH,
                "autoencoded": "what is drawn brings over real images of the same coding and counts",
            },
            is_generated=True,
        ),
    )
}


def external_arm(name: str) -> Arm:
    """The arm of a folder of images made by another program."""
    return Arm(
        name=name,
        source="external",
        rows=first,
        compared_with=("oversampled", "real", "synthetic"),
        mark="triangle",
        note="rare classes filled up to the same counts with images made by another program",
        subject=f"Images made by another program ({name})",
        questions={
            "oversampled": _CONTENT,
            "real": _BOTH,
            "synthetic": "what another program’s images bring over this one’s: the counts are equal",
        },
        is_generated=True,
    )


def compose(arm: Arm, train: Manifest, added: Manifest | None, counts: Mapping[str, int]) -> Manifest:
    """The train table of an arm: the train part's rows, then so many that are added to each class.

    `added` holds the images of the arm's source; None: none were made, or the train part's own are repeated. Raises
    DataError where too few are there, or one of another source.
    """
    if arm.rows is None:
        return train
    images = train if arm.source == "train" else added
    if images is None:
        images = train.where(train.table["label"] != train.table["label"])  # none
    return Manifest.concat(train, *(_rows(arm.rows, images, label, n) for label, n in counts.items() if n))


def limit_to_shots(train: Manifest, shots: Mapping[str, Manifest]) -> Manifest:
    """The train part with only the few-shot images of each rare class, as if no more existed."""
    kept = train.table["label"] != ""
    for label, few in shots.items():
        kept &= (train.table["label"] != label) | train.table["image_id"].isin(set(few.table["image_id"]))
    return train.where(kept)


def counts_by_source(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Number of each class's rows that are `real` images, `repeated` ones, or `synthetic` ones."""
    table = manifest.table
    kind = table["source"].mask(table.duplicated(["root", "path"]), "repeated")
    return {
        label: {
            name: int(((table["label"] == label) & (kind == name)).sum()) for name in ("real", "repeated", "synthetic")
        }
        for label in manifest.labels
    }


def _rows(rows: Rows, images: Manifest, label: str, n: int) -> Manifest:
    of_class = images.of(label)
    if not len(of_class):
        raise DataError(f"{label!r} needs {n} images more, but none are there; generate them")
    return rows(of_class, n)
