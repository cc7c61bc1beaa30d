"""The arms of a study: what each trains on, and its words in reports; a row of `ARMS` each.

Arms differ in the images that rare classes are filled up with, in how classes are sampled, or in how images are
augmented. *real* is the train part as it is; *oversampled* repeats rare classes' images up to `fill_to`; *synthetic*
adds synthetic images up to the same counts. The commonest class gets none. Class weights in the loss are the same in
every arm, and are not decided here. Some arms have a number in their name: `real@32` has up to 32 photographs of each
rare class, `synthetic@2x` twice as many synthetic images as photographs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from data.errors import DataError
from data.manifest import Manifest

Source = Literal["", "train", "synthetic", "autoencoded", "external"]  # of what rare classes are filled up with
Mark = Literal[
    "circle", "square", "diamond", "hexagon", "triangle", "cross",
    "pentagon", "star", "wedge", "plus", "pointer", "hourglass", "bowtie",
]  # fmt: skip
Tone = Literal["real", "oversampled", "autoencoded", "synthetic", "other"]  # colour in figures
Gate = Literal["", "kept", "random"]  # all synthetic images, those that the gate keeps, or as many at random
Rows = Callable[[Manifest, int], Manifest]  # so many rows from a class's images


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm: what its rare classes are filled up with, what it is compared with, and its words."""

    name: str
    source: Source
    rows: Rows | None  # how the rows that are added are taken from the source's images; None: nothing is added
    compared_with: tuple[str, ...]  # arms that it is compared with, the most informative first
    mark: Mark
    tone: Tone
    note: str  # what it trains on, in words
    subject: str  # of a sentence that says what the arm did
    questions: Mapping[str, str] = field(default_factory=dict)  # by arm: what the difference to it measures
    is_generated: bool = False  # whether its images are a generator's, so that it answers the study's question
    photographs: int | None = None  # at most so many of each rare class; None: as many as the study has
    dose: float | None = None  # added images as a multiple of the class's photographs; None: up to `fill_to`
    gate: Gate = ""
    keeps_photographs: bool = True  # False: classes that images are added to have these alone
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the classifier, in place of the study's


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
    return at_most(images, n)


def at_most(images: Manifest, n: int) -> Manifest:
    """The first `n` rows, or as many as there are. Raises DataError for a real image among them."""
    if (images.table["source"] != "synthetic").any():
        raise DataError(f"among the synthetic images of {images.labels[0]!r} is one whose source is 'real'")
    return Manifest(images.table.head(n).reset_index(drop=True), images.roots)


_CONTENT = "what the content of the synthetic images brings: the counts are equal"
_BOTH = "what content and more frequent drawing bring together"
_FILLED = "rare classes repeated up to the same counts as with synthetic images"
_MORE_OFTEN = "what drawing rare classes more often brings: the loss is balanced in both"


def _synthetic(*, rows: Rows = first, **words: Any) -> Arm:  # noqa: ANN401 - fields of an arm
    """An arm of synthetic images."""
    return Arm(source="synthetic", rows=rows, tone="synthetic", is_generated=True, **words)


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            name="real",
            source="",
            rows=None,
            compared_with=(),
            mark="circle",
            tone="real",
            note="the training images as they are",
            subject="Real images alone",
        ),
        Arm(
            name="balanced",
            source="",
            rows=None,
            compared_with=("real",),
            mark="pentagon",
            tone="real",
            note="the training images as they are, every class drawn equally often",
            subject="Drawing every class equally often",
            questions={"real": "what class-balanced sampling brings"},
            settings={"sampling": 1.0},
        ),
        Arm(
            name="oversampled",
            source="train",
            rows=repeated,
            compared_with=("real",),
            mark="square",
            tone="oversampled",
            note=f"{_FILLED}, with ordinary augmentation",
            subject="Repeating real images",
            questions={"real": _MORE_OFTEN},
        ),
        Arm(
            name="classical",
            source="train",
            rows=repeated,
            compared_with=("oversampled", "real"),
            mark="wedge",
            tone="oversampled",
            note=f"{_FILLED}, with RandAugment",
            subject="RandAugment",
            questions={
                "oversampled": "what strong classical augmentation brings: the counts are equal",
                "real": "what strong classical augmentation and more frequent drawing bring together",
            },
            settings={"augmentation": "randaugment"},
        ),
        Arm(
            name="mixup",
            source="train",
            rows=repeated,
            compared_with=("oversampled", "real"),
            mark="plus",
            tone="oversampled",
            note=f"{_FILLED}, mixed in pairs by MixUp and CutMix",
            subject="MixUp and CutMix",
            questions={
                "oversampled": "what mixing images brings: the counts are equal",
                "real": "what mixing images and more frequent drawing bring together",
            },
            settings={"mixup": 0.2, "cutmix": 1.0},
        ),
        Arm(
            name="autoencoded",
            source="autoencoded",
            rows=repeated,
            compared_with=("oversampled", "real"),
            mark="hexagon",
            tone="autoencoded",
            note="rare classes filled up to the same counts with real images reconstructed by the base’s autoencoder",
            subject="Passing real images through the autoencoder",
            questions={
                "oversampled": "what the coding of images brings by itself: the same images, the same counts",
                "real": "what coding and more frequent drawing bring together",
            },
        ),
        _synthetic(
            name="random",
            compared_with=("oversampled",),
            mark="hourglass",
            note="rare classes filled up with synthetic images taken at random, as many as the gate keeps",
            subject="Synthetic images taken at random",
            questions={"oversampled": "what the content of as many images as the gate keeps brings"},
            gate="random",
            rows=at_most,
        ),
        _synthetic(
            name="gated",
            compared_with=("oversampled", "random", "synthetic"),
            mark="star",
            note="rare classes filled up with the synthetic images that the gate keeps",
            subject="Synthetic images that pass the gate",
            questions={
                "oversampled": "what the content of the images that the gate keeps brings",
                "random": "what choosing images brings over as many taken at random",
                "synthetic": "what choosing images brings; fewer may be left",
            },
            gate="kept",
            rows=at_most,
        ),
        _synthetic(
            name="synthetic-only",
            compared_with=("oversampled", "synthetic"),
            mark="bowtie",
            note="rare classes have synthetic images alone, as many as with photographs",
            subject="Synthetic images in place of photographs",
            questions={
                "oversampled": "how far synthetic images replace photographs",
                "synthetic": "what the photographs of rare classes bring beside synthetic images",
            },
            keeps_photographs=False,
        ),
        _synthetic(
            name="synthetic-first",
            compared_with=("oversampled", "synthetic"),
            mark="pointer",
            note="rare classes have synthetic images alone in the first half of the steps, and photographs alone after",
            subject="Synthetic images first, photographs after",
            questions={"oversampled": _CONTENT, "synthetic": "what the order brings: the images are the same"},
            settings={"synthetic_first": 0.5},
        ),
        _synthetic(
            name="synthetic",
            compared_with=("oversampled", "real", "autoencoded"),
            mark="diamond",
            note="rare classes filled up with synthetic images to those counts",
            subject="Synthetic images",
            questions={
                "oversampled": _CONTENT,
                "real": _BOTH,
                "autoencoded": "what is drawn brings over real images of the same coding and counts",
            },
        ),
    )
}
FULL = (*ARMS, "real@32", "real@64", "synthetic@0.5x", "synthetic@1x", "synthetic@2x", "synthetic@5x", "synthetic@10x")
_NUMBERED = re.compile(r"real@(?P<photographs>[1-9]\d*)|synthetic@(?P<dose>\d+(\.\d+)?)x")


def arm_of(name: str) -> Arm | None:
    """The arm of this name, with or without a number; None for an unknown one."""
    if name in ARMS:
        return ARMS[name]
    found = _NUMBERED.fullmatch(name)
    if found is None or (found["dose"] and not float(found["dose"])):
        return None
    return _photographs(name, int(found["photographs"])) if found["photographs"] else _dose(name, float(found["dose"]))


def _photographs(name: str, n: int) -> Arm:
    return Arm(
        name=name,
        source="",
        rows=None,
        compared_with=(),
        mark="circle",
        tone="real",
        note=f"the training images, with up to {n} photographs of each rare class",
        subject=f"Up to {n} photographs of each rare class",
        photographs=n,
    )


def _dose(name: str, dose: float) -> Arm:
    return _synthetic(
        name=name,
        compared_with=("synthetic",),
        mark="diamond",
        note=f"{dose:g} times as many synthetic images as photographs in each rare class",
        subject=f"{dose:g} times as many synthetic images as photographs",
        questions={
            "synthetic": "what another number of synthetic images brings, and drawing their classes more or less often"
        },
        dose=dose,
    )


def external_arm(name: str) -> Arm:
    """The arm of a folder of images made by another program."""
    return Arm(
        name=name,
        source="external",
        rows=first,
        compared_with=("oversampled", "real", "synthetic"),
        mark="triangle",
        tone="other",
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
    added_to = {label: n for label, n in counts.items() if n}
    kept = train if arm.keeps_photographs else train.where(~train.table["label"].isin(added_to))
    return Manifest.concat(kept, *(_rows(arm.rows, images, label, n) for label, n in added_to.items()))


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
