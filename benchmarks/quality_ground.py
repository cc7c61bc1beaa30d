"""On which images the settings are measured: none that the study, or another one, is judged by."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.base import with_base
from flows.compare import train_part

from classify.features import Extractor, imagenet_features, oracle_features
from classify.oracle import OracleConfig, train_oracle, true_phantoms
from data.manifest import PART, Manifest
from data.splits.split import Split, make_split
from flows.prepare import Images, contents_of, read_images, read_split, shots_of, split_step
from flows.record import Record
from flows.study import StudyConfig

CONTROL = "true images, drawn apart"
PHANTOMS = 500_000  # seed of the phantoms that settings are chosen on; no study's, nor the base's or the judge's


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A study to choose settings by: nothing here is of another study's test part."""

    config: StudyConfig
    images: Images
    split: Split
    shots: Mapping[str, Manifest]
    true: Mapping[str, Manifest]  # by rare class: what neither generator nor extractor has seen
    control: Mapping[str, Manifest]  # more of the same; empty where there are none
    extractor: Extractor
    judge: Path | None
    told: str  # what all of this is, in words

    @property
    def train(self) -> Manifest:
        """The real images that classifiers train on."""
        return train_part(self.config, self.split, self.shots)

    @property
    def cache(self) -> Path:
        """Where decoded images are kept."""
        return Path(self.config.runs) / "cache"


def ground_of(config: StudyConfig, images: int) -> Ground:
    """Prepare the ground: draw, divide, and train judge and base where they are not there. Raises InputError."""
    config = dataclasses.replace(config, name=f"{config.name}-quality")
    ground = _phantoms(config, images) if config.data.source == "phantom" else _photographs(config)
    record = Record(config=ground.config, started=datetime.now(UTC))
    based = with_base(ground.config, ground.images, ground.split, record, lambda _, __, work: work(watch))
    return dataclasses.replace(ground, config=based)


def watch(done: int, total: int, note: str = "") -> None:
    """Tell of long work."""
    if done == total or done % 50 == 0:
        print(f"  {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)


def _phantoms(config: StudyConfig, images: int) -> Ground:
    """Repeat the study on other phantoms; classifiers are tested, and images compared, on phantoms drawn apart."""
    phantom = dataclasses.replace(config.data.phantom, seed=PHANTOMS)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, phantom=phantom), study_seed=config.study_seed + 1
    )
    where, judge = Path(config.runs) / "judge", dataclasses.replace(OracleConfig(), pixels=config.pixels)
    model = train_oracle(where, judge, lambda step, steps, loss: watch(step, steps, f"judge, loss {loss:.3f}"))
    fresh = _renamed(true_phantoms(where, judge, images))
    control = true_phantoms(where, dataclasses.replace(judge, seed=judge.seed + 1), images)
    found, split = _divided(config)
    contents = contents_of(fresh, Path(config.runs) / "cache" / "contents.json")
    rare = config.split.rare
    return Ground(
        config=config,
        images=dataclasses.replace(found, contents={**found.contents, **contents}),
        split=Split(split.train, split.validation, fresh),
        shots=shots_of(config, split),
        true={label: fresh.of(label) for label in rare},
        control={label: control.of(label) for label in rare},
        extractor=oracle_features(model),
        judge=model,
        told=f"phantoms of seed {phantom.seed}, study seed {config.study_seed}; {len(fresh)} phantoms drawn apart, "
        f"{images} of each class, test the classifiers and are what images are compared with",
    )


def _photographs(config: StudyConfig) -> Ground:
    """Divide the study's train part as if it were all there is: its validation and test parts are not looked at."""
    found, outer = _divided(config)
    within = Manifest(outer.train.table.drop(columns=PART, errors="ignore"), outer.train.roots)
    split = make_split(within, dataclasses.replace(config.split, folds=None, fold=0), config.study_seed)
    shots = shots_of(config, split)
    seen = {group for few in shots.values() for group in few.table["group_id"]}
    unseen = within.where(~within.table["group_id"].isin(seen))
    return Ground(
        config=config,
        images=found,
        split=split,
        shots=shots,
        true={label: unseen.of(label) for label in config.split.rare},
        control={},
        extractor=imagenet_features(config.pixels),
        judge=None,
        told=f"the study's train part alone, divided anew: {len(split.test)} of its {len(within)} images test the "
        "classifiers; images are compared with those of the class that share no leakage group with the shots",
    )


def _divided(config: StudyConfig) -> tuple[Images, Split]:
    found = read_images(config, watch)
    done = split_step(config, found)(watch)
    return found, read_split(done.folder, found.manifest.roots)


def _renamed(phantoms: Manifest) -> Manifest:
    """Set the phantoms apart from a study's, whose images, lesions and patients are numbered from 0 as well."""
    table = phantoms.table
    names = ("image_id", "group_id", "lesion_id", "patient_id")
    return Manifest(table.assign(**{name: "apart-" + table[name] for name in names}), phantoms.roots)
