"""The images that settings are compared on: none of the test part of the study, or of another study."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study_plan import CountedStudy, StderrRunner, titled, with_counts

from classify.features import Extractor, imagenet_features, oracle_features
from classify.oracle import OracleConfig, train_oracle, true_phantoms
from data.manifest import PART, Manifest, contents_of
from data.splits.split import Split, make_split
from flows.prepare import prepare
from flows.prepared import Prepared
from flows.study import StudyConfig

CONTROL = "real images, another sample"
PHANTOMS = 500_000  # seed of the phantoms that settings are chosen on; neither a study's, the base's nor the oracle's


@dataclass(frozen=True, kw_only=True)
class QualityData:
    """A study with a split of its own, and the real images that generated ones are compared with."""

    prepared: CountedStudy
    real: Mapping[str, Manifest]  # by rare class; neither generator nor extractor has seen them
    control: Mapping[str, Manifest]  # more of the same; empty where there are none
    extractor: Extractor
    oracle: Path | None  # its model folder; None: the images are not phantoms
    description: str  # of the images, for the report

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.prepared.study.cache


def quality_data(study: StudyConfig, images: int) -> QualityData:
    """Read or make the images and split them; of phantoms, also train the oracle. Raises InputError.

    At least `images` of each rare class are generated, more where a classifier needs them.
    """
    study = dataclasses.replace(study, name=f"{study.name}-quality", arms=("real", "oversampled", "synthetic"))
    return _phantoms(study, images) if study.data.source == "phantom" else _photographs(study, images)


def _phantoms(study: StudyConfig, images: int) -> QualityData:
    """The study on other phantoms. The test part and the real images to compare with are a further sample of them."""
    phantom = dataclasses.replace(study.data.phantom, seed=PHANTOMS)
    data = dataclasses.replace(study.data, phantom=phantom)
    study = dataclasses.replace(study, data=data, study_seeds=(study.study_seed + 1,))
    folder, config = Path(study.output_dir) / "oracle", dataclasses.replace(OracleConfig(), pixels=study.pixels)
    model = train_oracle(folder, config, titled("oracle"))
    test = _with_own_ids(true_phantoms(folder, config, images))
    control = true_phantoms(folder, dataclasses.replace(config, seed=config.seed + 1), images)
    prepared = prepare(study, StderrRunner())
    contents = {**prepared.images.contents, **contents_of(test, study.cache / "contents.json")}
    prepared = dataclasses.replace(
        prepared,
        images=dataclasses.replace(prepared.images, contents=contents),
        split=Split(prepared.split.train, prepared.split.validation, test),
    )
    return QualityData(
        prepared=_counted(prepared, images),
        real={label: test.of(label) for label in study.split.rare},
        control={label: control.of(label) for label in study.split.rare},
        extractor=oracle_features(model),
        oracle=model,
        description=f"phantoms of seed {phantom.seed}, study seed {study.study_seed}; {len(test)} further phantoms, "
        f"{images} of each class, are the test part of the classifiers and what images are compared with",
    )


def _photographs(study: StudyConfig, images: int) -> QualityData:
    """The train part of the study, divided again; its validation and test parts are not used."""
    prepared = prepare(study, StderrRunner())
    outer = prepared.split.train
    train = Manifest(outer.table.drop(columns=PART, errors="ignore"), outer.roots)
    split = make_split(train, dataclasses.replace(study.split, n_splits=None, fold=None), study.study_seed)
    prepared = dataclasses.replace(prepared, split=split)
    seen = {group for shots in prepared.shots.values() for group in shots.table["group_id"]}
    unseen = train.where(~train.table["group_id"].isin(seen))
    return QualityData(
        prepared=_counted(prepared, images),
        real={label: unseen.of(label) for label in study.split.rare},
        control={},
        extractor=imagenet_features(study.pixels),
        oracle=None,
        description=f"the study's train part alone, divided again: {len(split.test)} of its {len(train)} images are "
        "the test part of the classifiers; images are compared with those of the class that share no leakage group "
        "with the shots",
    )


def _counted(prepared: Prepared, images: int) -> CountedStudy:
    return with_counts(prepared, {label: max(images, count) for label, count in prepared.fill_counts.items()})


def _with_own_ids(phantoms: Manifest) -> Manifest:
    """The phantoms with a prefix on every id: those of a study are numbered from 0 too."""
    table = phantoms.table
    names = ("image_id", "group_id", "lesion_id", "patient_id")
    return Manifest(table.assign(**{name: "apart-" + table[name] for name in names}), phantoms.roots)
