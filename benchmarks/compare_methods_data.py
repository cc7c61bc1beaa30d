"""The study whose methods are compared, and the real images that theirs are compared with."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quality_data import quality_data
from study_plan import CountedStudy, StderrRunner, with_counts

from classify.features import Extractor, imagenet_features
from data.manifest import Manifest
from flows.prepare import prepare
from flows.study import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A study, and by rare class real images that no generator has seen."""

    prepared: CountedStudy
    real: Mapping[str, Manifest]
    extractor: Extractor
    oracle: Path | None  # a classifier of phantoms; None: the images are photographs
    images: int  # of each class and method that are compared
    description: str

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.prepared.study.cache

    @property
    def classifies(self) -> bool:
        """Whether classifiers are trained: only where their test part is no study's."""
        return self.oracle is not None


def compared(study: StudyConfig, images: int) -> Compared:
    """Of phantoms a study under other seeds, of photographs the study as it is, whose train part alone is read."""
    if study.data.source != "phantom":
        return photographs(study, images)
    found = quality_data(study, images)
    return Compared(
        prepared=found.prepared,
        real=found.real,
        extractor=found.extractor,
        oracle=found.oracle,
        images=images,
        description=found.description,
    )


def photographs(study: StudyConfig, images: int) -> Compared:
    """Images are compared with those of the train part that share no leakage group with the shots."""
    prepared = prepare(dataclasses.replace(study, arms=("real", "synthetic")), StderrRunner())
    seen = {group for shots in prepared.shots.values() for group in shots.table["group_id"]}
    train = prepared.split.train
    unseen = train.where(~train.table["group_id"].isin(seen))
    return Compared(
        prepared=with_counts(prepared, dict.fromkeys(study.split.rare, images)),
        real={label: unseen.of(label) for label in study.split.rare},
        extractor=imagenet_features(study.pixels),
        oracle=None,
        images=images,
        description=f"{study.data.source}, study seed {study.study_seed}: images are compared with photographs of the "
        "train part that share no leakage group with the shots; no classifier is trained",
    )
