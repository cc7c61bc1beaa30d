"""A finished run folder, summarised: predictions into figures, records into counts. No HTML here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from classify.tested import Tested
from data.errors import InputError
from reports.arms import arms_of, comparisons
from reports.artifacts import arm_training, external_images, finetune, random_split_score
from reports.discrimination import discrimination_of
from reports.doses import doses_of
from reports.evaluation import Evaluation
from reports.fidelity import fidelity
from reports.gate import gate_classes
from reports.pictures import thumbnails
from reports.probe import probe_scores
from reports.run_folder import RunFolder
from reports.schema import Results, Summary, Timing
from reports.split_counts import split_counts
from reports.worth import curve_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path


def summarise(run_folder: Path) -> Summary:
    """A finished run in numbers. Raises InputError for a folder in which something is missing or broken."""
    run = RunFolder.open(run_folder)
    try:
        return _summarise(run)
    except (KeyError, TypeError, AttributeError) as fault:
        raise InputError(
            f"{run.path}: a record lacks {fault} or holds it in another shape; start the run again to write it anew"
        ) from fault


def _summarise(run: RunFolder) -> Summary:
    record, evaluation = run.record, evaluation_of(run)
    seeds, rare = evaluation.seeds, tuple(record["rare"])
    training = {arm: arm_training(run, arm, seeds) for arm in evaluation.arms}
    finetunes = {label: finetune(run, label) for label in run.names("finetune")}
    return Summary(
        name=str(record["name"]),
        started=str(record["started"]),
        finished=str(record["finished"]),
        source=str(record["config"]["data"]["source"]),
        regime=record["regime"],
        rare=rare,
        seeds=tuple(record["seeds"]["seeds"]),
        study_seeds=(record["seeds"]["study_seed"],),
        generator_seeds=(record["seeds"].get("generator_seed", record["seeds"]["study_seed"]),),
        **vars(results_of(evaluation, run.names("external"), record["config"].get("malignant", ()))),
        training=training,
        doses=doses_of(training, run.names("external")),
        curve=curve_of(evaluation, training, rare, run.names("external")),
        finetunes=finetunes,
        gallery={label: thumbnails(run, label) for label in evaluation.classes},
        external={arm: external_images(run, arm) for arm in run.names("external")},
        random_split=random_split_score(run, seeds) if run.names("random_split") else None,
        probe=probe_scores(run, evaluation.arms, seeds),
        gate=gate_classes(run),
        split=split_counts(run),
        base=record["base"],
        timings=tuple(_timing(timing) for timing in record["timings"]),
        versions=record["versions"],
        machine=record["machine"],
        config=record["config"],
        fidelity=fidelity(run),
        stopped=tuple(f"{label} {tune.stopped}" for label, tune in finetunes.items() if tune.stopped),
    )


def evaluation_of(run: RunFolder) -> Evaluation:
    """The test part, and each arm's predictions of its images."""
    folder = run.artifact("split")
    test = run.table(folder, "test.csv", ["image_id", "label", "group_id"])
    classes: tuple[str, ...] = tuple(run.record["classes"])
    unknown = sorted(set(test["label"]) - set(classes))
    if unknown or test.empty:
        what = f"the class {unknown[0]!r}, which run.json does not name" if unknown else "no image"
        raise InputError(f"{folder / 'test.csv'}: holds {what}; start the run again to write it anew")
    images, seeds = list(test["image_id"]), tuple(str(seed) for seed in run.record["seeds"]["seeds"])
    numbers = {label: k for k, label in enumerate(classes)}
    tested = Tested(
        truth=np.asarray([numbers[label] for label in test["label"]], dtype=np.int64),
        groups=np.asarray(test["group_id"].to_list(), dtype=np.str_),
        probabilities={
            arm: np.stack([run.probabilities(arm, seed, images, classes) for seed in seeds])
            for arm in run.record["arms"]
        },
        name=str(run.record["name"]),
    )
    return Evaluation(repeats=(tested,), classes=classes, seeds=seeds)


def results_of(evaluation: Evaluation, external: Collection[str], malignant: Sequence[str] = ()) -> Results:
    """Scores and comparisons; `external`: the arms whose images another program made."""
    arms = arms_of(evaluation.arms, external)
    pairs = comparisons(list(arms.values()))
    claimed = sum(arms[first].is_generated for first, _ in pairs)  # they come first
    return Results(
        classes=evaluation.classes,
        arms=tuple(arms),
        test_images=evaluation.images,
        test_groups=evaluation.groups,
        balanced_accuracy={arm: evaluation.balanced_accuracy(arm) for arm in arms},
        weighted_recall={arm: evaluation.weighted_recall(arm) for arm in arms},
        per_class_recall={arm: evaluation.recalls(arm) for arm in arms},
        differences=evaluation.differences(pairs, claimed or len(pairs)),
        without_test_images=evaluation.without_images,
        confusion={arm: evaluation.confusion(arm) for arm in arms},
        ensemble={arm: evaluation.ensemble(arm) for arm in arms},
        chance=1 / (len(evaluation.classes) - len(evaluation.without_images)),
        commonest=evaluation.commonest,
        discrimination=discrimination_of(evaluation.repeats, evaluation.classes, malignant, pairs),
    )


def _timing(timing: Mapping[str, Any]) -> Timing:
    return Timing(
        stage=timing["stage"],
        what=str(timing["what"]),
        seconds=float(timing["seconds"]),
        reused=bool(timing["reused"]),
    )
