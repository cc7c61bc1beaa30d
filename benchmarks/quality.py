"""What does each speed-up of the sampler cost in quality? Steps, guidance and preset, each in a table row.

Every setting draws the same image seeds with the same adapters. The images are held against true ones that neither
generator nor feature extractor has seen, and a classifier is trained on them. Defaults are chosen by this table, so no
image of the study's own test part is looked at: a study of phantoms is repeated on other phantoms under another seed,
and one of photographs is divided anew within its train part.

    python benchmarks/quality.py [--config configs/demo.yaml] [--images 64] [--minutes 15] [key=value ...]

Finished work is kept in runs/NAME-quality: a run that was stopped, or ended by --minutes, goes on where it was.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from diffusers.utils import logging as diffusers_logging
from flows.compare import arm_step
from flows.synthesize import ROOT, finetune_step
from quality_ground import CONTROL, Ground, ground_of, watch
from quality_settings import SPEED, Setting, drawing, settings
from quality_table import Judged, Measured, plain, report
from transformers.utils import logging as transformers_logging

from augment.fidelity import compare
from augment.generate.run import synthetic_manifest
from classify.arms import fill_counts
from classify.comparison import estimate_arm, estimate_difference
from classify.oracle import oracle_predictions, recognised
from classify.predict import Predictions
from classify.seed_variance import seed_variance_of
from data.errors import ConfigError, InputError, exit_code
from data.manifest import Manifest
from data.store import read_json, write_json
from flows.steps import Step
from flows.study import StudyConfig, load_study

FEWEST = 12  # images a class that can be compared
OVERSAMPLED = "oversampled, no image drawn"


class Sweep:
    """The settings of one study, measured one after another."""

    def __init__(self, ground: Ground, images: int) -> None:
        self.ground, self.images = ground, images
        self.wanted = fill_counts(ground.train, ground.config.split.rare, ground.config.fill_to)
        self.tuned = {
            label: finetune_step(ground.config, ground.images, label, few) for label, few in ground.shots.items()
        }
        self.features = {label: ground.extractor(part, ground.cache) for label, part in ground.true.items()}
        for step in self.tuned.values():
            step(watch)

    def drawn(self, setting: Setting, until: float) -> dict[str, Step]:
        """Draw every rare class under one setting. Raises InputError for one that cannot be drawn here, or in time."""
        steps = {}
        for label, tuned in self.tuned.items():
            count = max(self.images, self.wanted[label])
            steps[label] = drawing(self.ground.config, setting, label, count, tuned, self.ground.train.of(label))
        if time.monotonic() > until and not all((step.target / SPEED).is_file() for step in steps.values()):
            raise ConfigError("the --minutes were over; the same command goes on from here")
        for step in steps.values():
            step(watch)
        return steps

    def measured(self, setting: Setting, drawn: Mapping[str, Step]) -> list[Measured]:
        """Hold the drawn images against true ones, class by class."""
        roots = {ROOT: self.ground.config.folder}
        rows = []
        for label, step in drawn.items():
            speed = read_json(step.target / SPEED)["images_per_second"]
            rows.append(self._row(setting.name, label, _first(step, roots, self.images), speed))
        return rows

    def control(self) -> list[Measured]:
        """Hold further true images against the same: what remains is chance."""
        return [self._row(CONTROL, label, part, None) for label, part in self.ground.control.items()]

    def _row(self, name: str, label: str, images: Manifest, speed: float | None) -> Measured:
        seen = self.ground.extractor(images, self.ground.cache)
        judge = self.ground.judge
        named = recognised(oracle_predictions(judge, images, self.ground.cache), label) if judge else None
        figures = compare(self.features[label], seen, halves=100)
        return Measured(setting=name, label=label, figures=figures, named=named, speed=speed)

    def arm(self, drawn: Mapping[str, Step] | None, seed: int) -> Step:
        """Train a classifier on the images, or on repeated ones where none are given."""
        ground, needed = self.ground, {label: step for label, step in (drawn or {}).items() if self.wanted[label]}
        name = "oversampled" if drawn is None else "synthetic"
        return arm_step(ground.config, ground.images, ground.split, ground.train, name, seed, needed)


def _first(step: Step, roots: Mapping[str, Path], count: int) -> Manifest:
    whole = synthetic_manifest(step.target, ROOT, roots)
    return Manifest(whole.table.head(count).reset_index(drop=True), whole.roots)


def sweep(config: StudyConfig, images: int, until: float) -> str:
    """Measure every setting and give the tables; nothing is begun after `until`, a time.monotonic()."""
    ground = ground_of(config, images)
    work = Sweep(ground, images)
    rows, missing, arms = work.control(), dict[str, str](), dict[str, Mapping[str, Step] | None]()
    for setting in settings():
        try:
            drawn = work.drawn(setting, until)
        except InputError as fault:
            missing[setting.name] = str(fault)
            continue
        rows += work.measured(setting, drawn)
        if setting.trained:
            arms[setting.name] = drawn
    arms[OVERSAMPLED] = None
    judged = _judged(work, arms, until)
    kept = ground.config.folder / "quality.json"
    write_json(kept, {"ground": ground.told, "rows": plain(rows), "classifiers": plain(judged), "missing": missing})
    return f"{report(ground, rows, judged, missing, images)}\n\nfigures: {kept}"


def _judged(work: Sweep, arms: Mapping[str, Mapping[str, Step] | None], until: float) -> list[Judged]:
    """Train the arms, all settings with one seed before the next seed, and hold each against the first setting."""
    done: dict[str, list[Predictions]] = {name: [] for name in arms}
    for seed in work.ground.config.seeds:
        for name, drawn in arms.items():
            step = work.arm(drawn, seed)
            if time.monotonic() < until or (step.target / "predictions.csv").is_file():
                step(watch)
                done[name].append(Predictions.read(step.target / "predictions.csv"))
    part = work.ground.split.test.table
    groups = part["group_id"].to_numpy()
    named = {name: np.stack([each.predicted for each in some]) for name, some in done.items() if some}
    if not named:
        return []
    reference, classes = next(iter(named)), next(each for some in done.values() for each in some).classes
    truth = np.array([classes.index(label) for label in part["label"]])
    spread, k = seed_variance_of(truth, list(named.values()), len(classes)), len(classes)
    return [
        Judged(
            setting=name,
            estimate=estimate_arm(truth, mine, groups, k, spread=spread).balanced_accuracy,
            difference=estimate_difference(truth, named[reference], mine, groups, k, spread=spread),
            seeds=len(mine),
        )
        for name, mine in named.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="quality", description="What each speed-up of the sampler costs in quality.")
    parser.add_argument("--config", default="configs/demo.yaml", help="a study (default: the demo)")
    parser.add_argument("--images", type=int, default=64, help="of each class and setting (default: 64)")
    parser.add_argument("--minutes", type=float, help="begin nothing after so long, but for the adapters")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    given = parser.parse_args(arguments)
    until = float("inf") if given.minutes is None else time.monotonic() + 60 * given.minutes
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return exit_code(lambda: _told(given, until))


def _told(given: argparse.Namespace, until: float) -> int:
    if given.images < FEWEST:
        raise ConfigError(f"--images {given.images}: too few to compare; ask for {FEWEST} or more")
    print(sweep(load_study(given.config, given.overrides), given.images, until))
    return 0


if __name__ == "__main__":
    sys.exit(main())
