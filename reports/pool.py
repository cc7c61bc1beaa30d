"""The folds of a cross-validation as one study: every image is tested once, by classifiers that have not seen it.

    python -m reports.pool runs/my-study-0 runs/my-study-1 ... [--out FOLDER]

writes summary.json and report.html, the page of one run with the folds named, into FOLDER (runs/my-study-pooled).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from classify.tested import Tested
from data.errors import exit_code
from data.store import write_text
from reports.evaluation import Evaluation
from reports.folds import open_folds, shared_config
from reports.pictures import take_turns
from reports.render import render
from reports.run_folder import RunFolder
from reports.schema import ArmTraining, Fold, SplitCounts, Summary
from reports.summary import evaluation_of, results_of, summarise
from reports.worth import curve_of


def pool(runs: Sequence[Path], beside: Path) -> Summary:
    """All folds in one summary, whose pictures are named from the folder `beside`.

    Raises InputError for runs that are not the folds of one study.
    """
    opened = open_folds(runs)
    folds = [summarise(run.path) for run in opened]
    first, folders, name = folds[0], [run.path for run in opened], _name(opened[0])
    whole = _concatenate([evaluation_of(run) for run in opened])
    results = results_of(whole, first.external)
    training = {arm: _mean_training([fold.training[arm] for fold in folds]) for arm in first.arms}
    return replace(
        first,
        **vars(results),
        name=name,
        started=min(fold.started for fold in folds),
        finished=max(fold.finished for fold in folds),
        training=training,
        curve=curve_of(whole, training, first.rare, first.external),
        finetunes={},
        gallery={label: take_turns([f.gallery[label] for f in folds], folders, beside) for label in first.gallery},
        random_split=None,
        split=_split([fold.split for fold in folds]),
        base=_side_by_side([fold.base for fold in folds]),
        timings=tuple(
            replace(timing, what=f"{timing.what}, fold {n}".lstrip(", "))
            for n, fold in enumerate(folds)
            for timing in fold.timings
        ),
        versions=_side_by_side([fold.versions for fold in folds]),
        machine=_side_by_side([fold.machine for fold in folds]),
        config=shared_config(opened[0]) | {"name": name},
        folds=tuple(_fold(n, fold) for n, fold in enumerate(folds)),
    )


def write_pooled(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the pooled summary and report, and give the report's path."""
    folder = out or runs[0].with_name(f"{_name(RunFolder.open(runs[0]))}-pooled")
    summary = pool(runs, folder)
    folder.mkdir(parents=True, exist_ok=True)  # pictures are found from there
    page = render(summary, folder)
    summary.write(folder / "summary.json")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.pool", description="Pool the runs of a cross-validation's folds into one report."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of each fold's finished run")
    parser.add_argument("--out", type=Path, help="where to write (default: NAME-pooled beside the runs)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _pool(options.runs, options.out))


def _pool(runs: Sequence[Path], out: Path | None) -> int:
    print(write_pooled(runs, out))
    return 0


def _name(run: RunFolder) -> str:
    """Name of the study: `my-study` where the fold's run is `my-study-0`."""
    return re.sub(r"-\d+$", "", str(run.record["name"]))


def _concatenate(folds: Sequence[Evaluation]) -> Evaluation:
    """All test parts as one, with the fold that tests each image."""
    one, parts = folds[0], [fold.repeats[0] for fold in folds]
    tested = Tested(
        truth=np.concatenate([part.truth for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        probabilities={arm: np.concatenate([part.probabilities[arm] for part in parts], axis=1) for arm in one.arms},
        name=parts[0].name,
        folds=np.repeat(np.arange(len(parts)), [len(part.truth) for part in parts]),
    )
    return Evaluation(repeats=(tested,), classes=one.classes, seeds=one.seeds)


def _mean_training(folds: Sequence[ArmTraining]) -> ArmTraining:
    """What the classifiers of an arm were trained on, on average over the folds."""
    counts = {
        label: {source: round(sum(fold.counts[label][source] for fold in folds) / len(folds)) for source in sources}
        for label, sources in folds[0].counts.items()
    }
    steps = {f"{n}, seed {seed}": step for n, fold in enumerate(folds) for seed, step in fold.best_steps.items()}
    seconds = sum(fold.seconds for fold in folds)
    return ArmTraining(counts=counts, steps=folds[0].steps, best_steps=steps, seconds=seconds)


def _split(folds: Sequence[SplitCounts]) -> SplitCounts:
    """The test parts of all folds; the rest of a fold's split, and its provenance, are in its own report."""
    return replace(
        folds[0],
        shared_groups=sum(fold.shared_groups for fold in folds),
        parts={f"fold {n}": fold.parts["test"] for n, fold in enumerate(folds)},
        provenance=(),
        base_has_seen=" / ".join(dict.fromkeys(fold.base_has_seen for fold in folds)),
    )


def _side_by_side(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of all; where they differ, their values are joined by a slash."""
    keys = dict.fromkeys(chain.from_iterable(records))
    values = {key: list(dict.fromkeys(str(record.get(key)) for record in records)) for key in keys}
    return {key: records[0].get(key) if len(texts) == 1 else " / ".join(texts) for key, texts in values.items()}


def _fold(number: int, summary: Summary) -> Fold:
    rows = [row for row in summary.split.provenance if row.kind != "figures"]
    return Fold(
        fold=number,
        run=summary.name,
        images=summary.test_images,
        groups=summary.test_groups,
        balanced_accuracy={arm: score.mean for arm, score in summary.balanced_accuracy.items()},
        seen_of_test=sum(row.test for row in rows),
        is_complete=all(row.is_complete for row in rows),
    )


if __name__ == "__main__":
    raise SystemExit(main())
