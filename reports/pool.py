"""The folds of a cross-validation as one study: every image is judged once, by classifiers that have not seen it.

    python -m reports.pool runs/my-study-0 runs/my-study-1 ... [--out FOLDER]

writes summary.json and report.html, the page of one run with the folds named, into FOLDER (runs/my-study-pooled).
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import exit_code
from data.store import write_text
from reports.evaluation import Judged
from reports.folds import open_folds, shared_config
from reports.render import render
from reports.run_folder import RunFolder
from reports.schema import Fold, SplitCounts, Summary, Training
from reports.summary import judged_of, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

_THUMBS = 12  # images a class and source


def pool(runs: Sequence[Path], beside: Path) -> Summary:
    """All folds in one summary, whose pictures are named from the folder `beside`.

    Raises InputError for runs that are not the folds of one study.
    """
    opened = open_folds(runs)
    summaries, whole = [summarise(run.path) for run in opened], _together([judged_of(run) for run in opened])
    first = summaries[0]
    varied = _varied(whole, len(runs))
    return replace(
        first,
        name=_name(opened[0]),
        started=min(s.started for s in summaries),
        finished=max(s.finished for s in summaries),
        test_images=len(whole.truth),
        test_groups=len(np.unique(whole.groups)),
        balanced_accuracy={arm: replace(whole.balanced_accuracy(arm), varied=varied) for arm in first.arms},
        weighted_recall={arm: replace(whole.weighted_recall(arm), varied=varied) for arm in first.arms},
        per_class_recall={arm: whole.recalls(arm) for arm in first.arms},
        differences=tuple(replace(difference, varied=varied) for difference in whole.differences()),
        without_test_images=tuple(c for k, c in enumerate(whole.classes) if not (whole.truth == k).any()),
        confusion={arm: whole.confusion(arm) for arm in first.arms},
        training={arm: _training([s.training[arm] for s in summaries]) for arm in first.arms},
        finetunes={},
        gallery=_gallery(opened, summaries, beside),
        careless=None,
        split=_split([s.split for s in summaries]),
        base=_joined([s.base for s in summaries]),
        timings=tuple(
            replace(t, what=f"{t.what}, fold {n}".lstrip(", ")) for n, s in enumerate(summaries) for t in s.timings
        ),
        versions=_joined([s.versions for s in summaries]),
        machine=_joined([s.machine for s in summaries]),
        config=shared_config(opened[0]) | {"name": _name(opened[0])},
        folds=tuple(_told(n, s) for n, s in enumerate(summaries)),
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
    given = parser.parse_args(arguments)
    return exit_code(lambda: _written(given.runs, given.out))


def _written(runs: Sequence[Path], out: Path | None) -> int:
    print(write_pooled(runs, out))
    return 0


def _name(run: RunFolder) -> str:
    """Name the study: `my-study` where the fold's run is `my-study-0`."""
    return re.sub(r"-\d+$", "", str(run.record["name"]))


def _together(judged: Sequence[Judged]) -> Judged:
    """All test parts as one."""
    one = judged[0]
    return Judged(
        truth=np.concatenate([part.truth for part in judged]),
        groups=np.concatenate([part.groups for part in judged]),
        classes=one.classes,
        seeds=one.seeds,
        named={arm: np.concatenate([part.named[arm] for part in judged], axis=1) for arm in one.named},
    )


def _varied(whole: Judged, folds: int) -> str:
    seeds = whole.spread.told(folds) if whole.spread else "one seed"
    return (
        f"2000 draws of the {len(np.unique(whole.groups)):,} leakage groups of the {folds} folds’ test parts together; "
        f"{seeds}; each fold’s split, few-shot images and generators are fixed"
    )


def _training(folds: Sequence[Training]) -> Training:
    """What the classifiers of an arm were trained on, on average over the folds."""
    counts = {
        label: {source: round(sum(fold.counts[label][source] for fold in folds) / len(folds)) for source in sources}
        for label, sources in folds[0].counts.items()
    }
    steps = {f"{n}, seed {seed}": step for n, fold in enumerate(folds) for seed, step in fold.best_steps.items()}
    return Training(counts=counts, steps=folds[0].steps, best_steps=steps, seconds=sum(fold.seconds for fold in folds))


def _split(folds: Sequence[SplitCounts]) -> SplitCounts:
    """The test parts of all folds; what else a fold's split and ledger hold stands in its own report."""
    return replace(
        folds[0],
        shared_groups=sum(fold.shared_groups for fold in folds),
        parts={f"fold {n}": fold.parts["test"] for n, fold in enumerate(folds)},
        seen=(),
        base_has_seen=" / ".join(dict.fromkeys(fold.base_has_seen for fold in folds)),
    )


def _gallery(
    runs: Sequence[RunFolder], summaries: Sequence[Summary], beside: Path
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Pictures of every fold in turn."""

    def in_turn(label: str, source: str) -> tuple[str, ...]:
        found = [
            [os.path.relpath(run.path / path, beside) for path in summary.gallery[label].get(source, ())]
            for run, summary in zip(runs, summaries, strict=True)
        ]
        return tuple(path for row in zip_longest(*found) for path in row if path is not None)[:_THUMBS]

    shown = summaries[0].gallery
    return {label: {source: in_turn(label, source) for source in sources} for label, sources in shown.items()}


def _joined(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of all; where they differ, what they say stands side by side."""
    keys = dict.fromkeys(chain.from_iterable(records))
    said = {key: list(dict.fromkeys(str(record.get(key)) for record in records)) for key in keys}
    return {key: records[0].get(key) if len(values) == 1 else " / ".join(values) for key, values in said.items()}


def _told(number: int, summary: Summary) -> Fold:
    seen = [one for one in summary.split.seen if one.kind != "figures"]
    return Fold(
        fold=number,
        run=summary.name,
        images=summary.test_images,
        groups=summary.test_groups,
        balanced_accuracy={arm: score.mean for arm, score in summary.balanced_accuracy.items()},
        seen_of_test=sum(one.test for one in seen),
        known=all(one.known for one in seen),
    )


if __name__ == "__main__":
    raise SystemExit(main())
