"""How much may synthetic images weigh? Their share of the loss, and synthetic first, compared on the validation part.

Arm `synthetic` of a study is trained with synthetic images carrying 0.2, 0.5 and 0.8 of each filled class's loss, while
each photograph is drawn equally often, and with synthetic images first and photographs after; arm `oversampled`
stands beside. The default share is chosen by this table, and no figure of the test part stands in it.

    python benchmarks/shares.py CONFIG [key=value ...]

The study's images are made first where they are missing. Classifiers are kept in its run folder under `shares`: the
same command continues, and study seeds are pooled.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from study_plan import StderrRunner, make_stage, titled

from classify.arms import ARMS, Arm
from classify.comparison import Comparison, Estimate
from classify.predict import Predictions, predict
from classify.tested import Tested
from classify.train import train_arm
from data.config import to_dict
from data.errors import exit_code
from data.store import digest, make_once
from flows.execute import run_group
from flows.plan import Plan
from flows.prepare import prepare_repeats
from flows.stages.arm import classifier_config, task_of
from flows.stages.table import make_plan
from flows.study import StudyConfig, load_study

OVERSAMPLED = "oversampled"
BEFORE = ("base", "fine-tune", "images", "autoencoded", "probe")  # the stages that make what is trained on
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "share 0.5": {},  # the default: drawn as often as photographs, and weighing as much
    "share 0.2": {"synthetic_draws": 0.5, "synthetic_loss": 0.2},
    "share 0.8": {"synthetic_draws": 0.5, "synthetic_loss": 0.8},
    "synthetic first": dict(ARMS["synthetic-first"].settings),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a study")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(load_study(options.config, options.overrides)))


def _run(study: StudyConfig) -> int:
    plans = [make_plan(prepared) for prepared in prepare_repeats(study, StderrRunner())]
    tested = tuple(_validated(plan) for plan in plans)
    labels = plans[0].prepared.split.validation.labels
    rare = [labels.index(label) for label in study.split.rare]
    comparison = Comparison(tested, len(labels))
    rows = [_row(comparison, name, rare) for name in (*SETTINGS, OVERSAMPLED)]
    print(f"validation part, {len(tested)} study seed(s) x {len(study.seeds)} seeds; percent and points, 95 %")
    print(pd.DataFrame(rows).fillna("").to_string(index=False))
    return 0


def _validated(plan: Plan) -> Tested:
    """The validation part with what every setting's classifiers make of it, trained here where they are missing."""
    for stage in BEFORE:
        make_stage(plan, stage)
    study, part = plan.prepared.study, plan.prepared.split.validation
    table = study.arm_table
    arms = {name: dataclasses.replace(table["synthetic"], settings=own) for name, own in SETTINGS.items()}
    predictions = {
        name: [_predictions(plan, arm, seed, name) for seed in study.seeds]
        for name, arm in (arms | {OVERSAMPLED: table[OVERSAMPLED]}).items()
    }
    first = predictions[OVERSAMPLED][0]
    return Tested(
        truth=np.array([first.classes.index(label) for label in part.table["label"]]),
        groups=part.table["group_id"].to_numpy(),
        probabilities={name: np.stack([each.probabilities for each in own]) for name, own in predictions.items()},
        name=study.title,
        draw=study.title,
    )


def _predictions(plan: Plan, arm: Arm, seed: int, name: str) -> Predictions:
    """What one classifier makes of the validation part; the study's own where it has these settings."""
    study, part = plan.prepared.study, plan.prepared.split.validation
    known = plan.step("arm", arm.name, str(seed))
    if not arm.settings:
        run_group(plan, (known,), titled(known.id))
        return Predictions.read(known.target / "validation.csv")
    config = classifier_config(study, arm)
    inputs = {"shares": known.inputs, "classifier": to_dict(config)}
    folder = study.folder / "shares" / f"{name.replace(' ', '-')}-{seed}-{digest(inputs)[:12]}"

    def make(out: Path) -> None:
        task, progress = task_of(plan, arm, seed), titled(f"{name}, seed {seed}")
        train_arm(task=task, config=config, pixels=study.pixels, out=out, cache=study.cache, progress=progress)
        predict(out / "model", part, cache=study.cache).write(out / "validation.csv")

    return Predictions.read(make_once(folder, inputs, make) / "validation.csv")


def _row(comparison: Comparison, name: str, rare: Sequence[int]) -> dict[str, object]:
    """A setting's balanced accuracy and mean recall of rare classes, and their differences to the default's."""
    own, default = comparison.arm(name), next(iter(SETTINGS))
    row: dict[str, object] = {"setting": name, "balanced accuracy": _percent(own.balanced_accuracy)}
    row["seeds"] = " ".join(f"{100 * value:.1f}" for value in own.by_seed)
    row["rare recall"] = f"{100 * float(np.mean([own.recalls[k].value for k in rare])):.1f}"
    if name != default:
        row["difference"] = _percent(comparison.difference(name, default).balanced_accuracy)
    return row


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
