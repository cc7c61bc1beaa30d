"""All repeats of a study in one summary: figures of all of them, and each repeat by itself.

The folds of one study seed and generator seed are one test part, in which every image is tested once, by classifiers
that have not seen it.
"""

from __future__ import annotations

import os
from dataclasses import MISSING, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from classify.tested import Tested
from reports.doses import doses_of
from reports.evaluation import Evaluation
from reports.fidelity import pooled_fidelity
from reports.gate import pooled_gate
from reports.pictures import take_turns
from reports.probe import pooled_probe
from reports.repeats import by_draw, open_repeats, shared_config, titles
from reports.schema import ArmTraining, Repeat, SplitCounts, Summary, Timing
from reports.summary import evaluation_of, results_of, summarise
from reports.worth import curve_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.repeats import OneRepeat


def pool(runs: Sequence[Path], beside: Path, name: str = "") -> Summary:
    """All repeats in one summary, by default of the runs' own name; pictures are named from the folder `beside`.

    Raises InputError for runs that are not the repeats of one study.
    """
    repeats = open_repeats(runs)
    folders, named = [one.run.path for one in repeats], titles(repeats)
    found = dict(zip(named, map(summarise, folders), strict=True))
    first, summaries = found[named[0]], list(found.values())
    name, whole = name or first.name, _evaluation(repeats)
    training = {arm: _mean_training({key: one.training[arm] for key, one in found.items()}) for arm in first.arms}
    return replace(
        replace(first, **_defaults() | vars(results_of(whole, first.external, first.config.get("malignant", ())))),
        name=name,
        started=min(one.started for one in summaries),
        finished=max(one.finished for one in summaries),
        study_seeds=tuple(dict.fromkeys(one.seeds[0] for one in repeats)),
        generator_seeds=tuple(dict.fromkeys(one.seeds[1] for one in repeats)),
        training=training,
        doses=doses_of(training, first.external),
        curve=curve_of(whole, training, first.rare, first.external),
        finetunes={},
        gallery={
            label: take_turns([one.gallery[label] for one in summaries], folders, beside) for label in first.gallery
        },
        random_split=None,
        probe=pooled_probe([one.probe for one in summaries]),
        gate=pooled_gate([one.gate for one in summaries]),
        fidelity=pooled_fidelity([one.fidelity for one in summaries]),
        stopped=tuple(f"{key}: {one}" for key, summary in found.items() for one in summary.stopped),
        split=_split({key: one.split for key, one in found.items()}),
        base=_side_by_side([one.base for one in summaries]),
        timings=_timings(repeats, found),
        versions=_side_by_side([one.versions for one in summaries]),
        machine=_side_by_side([one.machine for one in summaries]),
        config=shared_config(repeats, name),
        repeats=tuple(
            _repeat(one, key, summary, beside) for one, (key, summary) in zip(repeats, found.items(), strict=True)
        ),
    )


def _defaults() -> dict[str, Any]:
    """The fields that a summary may leave out, as it has them then: the first repeat's do not stand for all."""
    unpooled = {field.name: field for field in fields(Summary) if field.name != "repeats"}
    constant = {name: field.default for name, field in unpooled.items() if field.default is not MISSING}
    made = {name: field.default_factory for name, field in unpooled.items()}
    return constant | {name: factory() for name, factory in made.items() if factory is not MISSING}


def _evaluation(repeats: Sequence[OneRepeat]) -> Evaluation:
    """One test part for each study seed and generator seed: the run's, or its folds' together."""
    draws = by_draw(repeats)
    names = titles([draw[0] for draw in draws])
    one = evaluation_of(repeats[0].run)
    tested = tuple(_tested(draw, name) for draw, name in zip(draws, names, strict=True))
    return Evaluation(repeats=tested, classes=one.classes, seeds=one.seeds)


def _tested(draw: Sequence[OneRepeat], name: str) -> Tested:
    """All test parts of one draw as one, with the fold that tests each image."""
    parts = [evaluation_of(one.run).repeats[0] for one in draw]
    numbers = np.repeat(np.arange(len(parts)), [len(part.truth) for part in parts])
    return Tested(
        truth=np.concatenate([part.truth for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        probabilities={
            arm: np.concatenate([part.probabilities[arm] for part in parts], axis=1) for arm in parts[0].probabilities
        },
        name=name,
        draw=f"study seed {draw[0].seeds[0]}",
        folds=numbers if len(parts) > 1 else None,
    )


def _timings(repeats: Sequence[OneRepeat], found: Mapping[str, Summary]) -> tuple[Timing, ...]:
    """The pieces of work of all repeats; an artefact that several share is counted with the first that has it."""
    timings, counted = [], set()
    for one, (title, summary) in zip(repeats, found.items(), strict=True):
        for recorded, timing in zip(one.run.record["timings"], summary.timings, strict=True):
            artefact = one.run.study.absolute() / recorded.get("folder", f"{title} {timing.stage} {timing.what}")
            if artefact not in counted:
                timings.append(replace(timing, what=f"{timing.what}, {title}".lstrip(", ")))
            counted.add(artefact)
    return tuple(timings)


def _mean_training(repeats: Mapping[str, ArmTraining]) -> ArmTraining:
    """What the classifiers of an arm were trained on, on average over the repeats."""
    found = list(repeats.values())
    counts = {
        label: {source: round(sum(one.counts[label][source] for one in found) / len(found)) for source in sources}
        for label, sources in found[0].counts.items()
    }
    steps = {f"{title}, seed {seed}": n for title, one in repeats.items() for seed, n in one.best_steps.items()}
    return ArmTraining(
        counts=counts,
        steps=found[0].steps,
        best_steps=steps,
        seconds=sum(one.seconds for one in found),
        temperatures={f"{title}, seed {s}": t for title, one in repeats.items() for s, t in one.temperatures.items()},
        validation={f"{title}, seed {s}": v for title, one in repeats.items() for s, v in one.validation.items()},
    )


def _split(repeats: Mapping[str, SplitCounts]) -> SplitCounts:
    """The test parts of all repeats; the rest of a repeat's split, and its provenance, are in its own report."""
    found = list(repeats.values())
    return replace(
        found[0],
        shared_groups=sum(one.shared_groups for one in found),
        parts={title: one.parts["test"] for title, one in repeats.items()},
        provenance=(),
        base_has_seen=" / ".join(dict.fromkeys(one.base_has_seen for one in found)),
    )


def _side_by_side(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of all; where they differ, their values are joined by a slash."""
    keys = dict.fromkeys(chain.from_iterable(records))
    values = {key: list(dict.fromkeys(str(record.get(key)) for record in records)) for key in keys}
    return {key: records[0].get(key) if len(texts) == 1 else " / ".join(texts) for key, texts in values.items()}


def _repeat(one: OneRepeat, title: str, summary: Summary, beside: Path) -> Repeat:
    rows = [row for row in summary.split.provenance if row.kind != "figures"]
    return Repeat(
        name=title,
        run=os.path.relpath(one.run.path, beside).replace(os.sep, "/"),
        study_seed=one.seeds[0],
        generator_seed=one.seeds[1],
        fold=one.fold,
        images=summary.test_images,
        groups=summary.test_groups,
        balanced_accuracy={arm: score.mean for arm, score in summary.balanced_accuracy.items()},
        seen_of_test=sum(row.test for row in rows),
        is_complete=all(row.is_complete for row in rows),
    )
