"""What does each speed-up of the sampler cost in quality? Steps, guidance and preset, each in a table row.

Every setting generates the same image seeds with the same adapters. The images are compared with real ones that neither
generator nor feature extractor has seen, and a classifier is trained on them. Defaults are chosen by this table, so no
image of the study's own test part is used: a study of phantoms is repeated on other phantoms under another seed, and
the train part of one of photographs is divided again.

    python benchmarks/quality.py [--config configs/demo.yaml] [--images 64] [--minutes 15] [key=value ...]

Finished work is kept in runs/NAME-quality: the same command continues a run that was stopped, or ended by --minutes.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from diffusers.utils import logging as diffusers_logging
from quality_data import CONTROL, QualityData, quality_data
from quality_settings import Setting, generate_timed, images_per_second, settings
from quality_table import ClassifierResult, ImageResult, report, to_rows
from study_plan import StderrRunner, make_stage, print_progress
from transformers.utils import logging as transformers_logging

from augment.fidelity import compare
from augment.generate.run import synthetic_manifest
from classify.comparison import Comparison
from classify.oracle import oracle_predictions, recognised
from classify.predict import Predictions
from classify.tested import Tested
from data.errors import ConfigError, InputError, exit_code
from data.manifest import Manifest
from data.store import write_json
from flows.checks import check
from flows.execute import run_group
from flows.machine_faults import machine_faults_in_one_line
from flows.plan import Plan
from flows.stages import images as images_stage
from flows.stages.table import make_plan
from flows.steps import Step
from flows.study import StudyConfig, load_study

MIN_IMAGES = 12  # of a class, for a comparison
OVERSAMPLED = "oversampled, no synthetic images"


@dataclass(frozen=True)
class ClassifierArm:
    """An arm of the plan of one setting: a row of the table whose classifiers are trained."""

    plan: Plan
    name: str

    def step(self, seed: int) -> Step:
        """The classifier of one seed."""
        return self.plan.step("arm", self.name, str(seed))


class Sweep:
    """The settings of one study, measured one after another: each has a plan, and all share the adapters."""

    def __init__(self, data: QualityData, images: int) -> None:
        self.data, self.images, self.plan = data, images, make_plan(data.prepared)
        self.features = {label: data.extractor(part, data.cache) for label, part in data.real.items()}
        check([self.plan], StderrRunner())
        make_stage(self.plan, "base")
        for step in self.plan.steps_of("fine-tune"):  # one by one: in one batch they differ by rounding
            run_group(self.plan, (step,), print_progress)

    def generate(self, setting: Setting, deadline: float) -> Plan:
        """Generate every rare class under one setting. Raises InputError for an invalid one, or past the deadline."""
        study = self.data.prepared.study
        study = dataclasses.replace(study, generate=setting.applied_to(study.generate))
        plan = make_plan(dataclasses.replace(self.data.prepared, study=study))
        steps = plan.steps_of("images")
        if time.monotonic() > deadline and not all(step.is_finished for step in steps):
            raise ConfigError("the --minutes were over; the same command goes on from here")
        for step in steps:
            generate_timed(plan, step, print_progress)
        images_stage.unload(plan)
        return plan

    def measure(self, setting: Setting, plan: Plan) -> list[ImageResult]:
        """Compare the generated images with real ones, by class."""
        roots = {images_stage.ROOT: plan.prepared.study.folder}
        rows = []
        for step in plan.steps_of("images"):
            generated = synthetic_manifest(step.target, images_stage.ROOT, roots)
            first = Manifest(generated.table.head(self.images).reset_index(drop=True), generated.roots)
            rows.append(self._row(setting.name, step.what, first, images_per_second(step)))
        return rows

    def control(self) -> list[ImageResult]:
        """Compare more real images with the same: what differs is chance."""
        return [self._row(CONTROL, label, part, None) for label, part in self.data.control.items()]

    def _row(self, name: str, label: str, images: Manifest, speed: float | None) -> ImageResult:
        features = self.data.extractor(images, self.data.cache)
        oracle = self.data.oracle
        recall = recognised(oracle_predictions(oracle, images, self.data.cache), label) if oracle else None
        figures = compare(self.features[label], features, halves=100)
        return ImageResult(setting=name, label=label, figures=figures, oracle_recall=recall, speed=speed)


def sweep(study: StudyConfig, images: int, deadline: float) -> str:
    """Measure every setting and give the tables; no work is begun after the deadline, a time.monotonic()."""
    data = quality_data(study, images)
    work = Sweep(data, images)
    rows, missing, arms = work.control(), dict[str, str](), dict[str, ClassifierArm]()
    for setting in settings():
        try:
            plan = work.generate(setting, deadline)
        except InputError as fault:
            missing[setting.name] = str(fault)
            continue
        rows += work.measure(setting, plan)
        if setting.trained:
            arms[setting.name] = ClassifierArm(plan, "synthetic")
    arms[OVERSAMPLED] = ClassifierArm(work.plan, "oversampled")
    classifiers = compare_arms(data, train_arms(arms, data.prepared.study.seeds, deadline))
    figures = {"images": to_rows(rows), "classifiers": to_rows(classifiers), "missing": missing}
    path = data.prepared.study.folder / "quality.json"
    write_json(path, {"data": data.description, **figures})
    return f"{report(data, rows, classifiers, missing, images)}\n\nfigures: {path}"


def train_arms(
    arms: Mapping[str, ClassifierArm], seeds: Sequence[int], deadline: float
) -> dict[str, list[Predictions]]:
    """Train the classifiers, all settings with one seed before the next seed; the predictions of each arm."""
    predictions: dict[str, list[Predictions]] = {name: [] for name in arms}
    for seed in seeds:
        for name, arm in arms.items():
            step = arm.step(seed)
            if time.monotonic() < deadline or step.is_finished:
                for stage in ("autoencoded", "probe"):  # made once, whatever the setting
                    make_stage(arm.plan, stage)
                run_group(arm.plan, (step,), print_progress)
                predictions[name].append(Predictions.read(step.target / "predictions.csv"))
    return {name: found for name, found in predictions.items() if found}


def compare_arms(data: QualityData, predictions: Mapping[str, Sequence[Predictions]]) -> list[ClassifierResult]:
    """Balanced accuracy of each arm, and its difference to the first's."""
    if not predictions:
        return []
    classes = next(iter(predictions.values()))[0].classes
    part = data.prepared.split.test.table
    groups, k = part["group_id"].to_numpy(), len(classes)
    truth = np.array([classes.index(label) for label in part["label"]])
    predicted = {name: np.stack([each.predicted for each in found]) for name, found in predictions.items()}
    comparison = Comparison((Tested.of_classes(truth, groups, predicted, k),), k)
    return [
        ClassifierResult(
            setting=name,
            estimate=comparison.arm(name).balanced_accuracy,
            difference=comparison.difference(name, next(iter(predicted))),
            seeds=len(own),
        )
        for name, own in predicted.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="quality", description="What each speed-up of the sampler costs in quality.")
    parser.add_argument("--config", default="configs/demo.yaml", help="a study (default: the demo)")
    parser.add_argument("--images", type=int, default=64, help="of each class and setting (default: 64)")
    parser.add_argument("--minutes", type=float, help="begin no work after this time, except for the adapters")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    options = parser.parse_args(arguments)
    deadline = float("inf") if options.minutes is None else time.monotonic() + 60 * options.minutes
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return exit_code(lambda: _run(options, deadline))


def _run(options: argparse.Namespace, deadline: float) -> int:
    if options.images < MIN_IMAGES:
        raise ConfigError(f"--images {options.images}: too few to compare; ask for {MIN_IMAGES} or more")
    study = load_study(options.config, options.overrides)
    with machine_faults_in_one_line(study.output_dir):
        print(sweep(study, options.images, deadline))
    return 0


if __name__ == "__main__":
    sys.exit(main())
