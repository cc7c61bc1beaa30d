"""A finished run folder, summarised: predictions into figures, records into counts. No HTML here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data.errors import InputError
from reports.evaluation import Judged
from reports.run_folder import RunFolder
from reports.schema import Careless, Elsewhere, FineTune, Leak, Part, Seen, SplitCounts, Summary, Timing, Training

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LOSSES = 100
_MOST_PREVIEWS = 3


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
    record = run.record
    judged = judged_of(run)
    arms: tuple[str, ...] = tuple(record["arms"])
    return Summary(
        name=str(record["name"]),
        started=str(record["started"]),
        finished=str(record["finished"]),
        source=str(record["config"].get("data", {}).get("source", "unknown")),
        regime=record["regime"],
        classes=judged.classes,
        rare=tuple(record["rare"]),
        arms=arms,
        seeds=tuple(record["seeds"]["seeds"]),
        study_seed=record["seeds"]["study_seed"],
        test_images=len(judged.truth),
        test_groups=len(np.unique(judged.groups)),
        balanced_accuracy={arm: judged.balanced_accuracy(arm) for arm in arms},
        weighted_recall={arm: judged.weighted_recall(arm) for arm in arms},
        per_class_recall={arm: judged.recalls(arm) for arm in arms},
        differences=judged.differences(),
        without_test_images=tuple(c for k, c in enumerate(judged.classes) if not (judged.truth == k).any()),
        confusion={arm: judged.confusion(arm) for arm in arms},
        training={arm: _training(run, arm, judged.seeds) for arm in arms},
        finetunes={label: _finetune(run, label) for label in record["artifacts"].get("finetune", {})},
        gallery={label: _thumbs(run, label) for label in judged.classes},
        elsewhere={arm: _elsewhere(run, arm) for arm in record["artifacts"].get("folder", {})},
        careless=_careless(run, judged.seeds) if "careless" in record["artifacts"] else None,
        split=_split(run),
        base=record["base"],
        timings=tuple(
            Timing(stage=t["stage"], what=str(t["what"]), seconds=float(t["seconds"]), reused=bool(t["reused"]))
            for t in record["timings"]
        ),
        versions=record["versions"],
        machine=record["machine"],
        config=record["config"],
    )


def judged_of(run: RunFolder) -> Judged:
    """The test part, and what each arm's classifiers named its images."""
    folder = run.artifact("split")
    test = run.table(folder, "test.csv", ["image_id", "label", "group_id"])
    classes: tuple[str, ...] = tuple(run.record["classes"])
    unknown = sorted(set(test["label"]) - set(classes))
    if unknown or test.empty:
        what = f"the class {unknown[0]!r}, which run.json does not know" if unknown else "no image"
        raise InputError(f"{folder / 'test.csv'}: holds {what}; start the run again to write it anew")
    images, seeds = list(test["image_id"]), tuple(str(seed) for seed in run.record["seeds"]["seeds"])
    named = {
        arm: np.stack([run.probabilities(arm, seed, images, classes).argmax(axis=1) for seed in seeds])
        for arm in run.record["arms"]
    }
    numbers = {label: k for k, label in enumerate(classes)}
    return Judged(
        truth=np.asarray([numbers[label] for label in test["label"]], dtype=np.int64),
        groups=np.asarray(test["group_id"].to_list(), dtype=np.str_),
        classes=classes,
        seeds=seeds,
        named=named,
    )


def _training(run: RunFolder, arm: str, seeds: tuple[str, ...]) -> Training:
    records = [run.json(run.artifact("arm", arm, seed), "arm.json") for seed in seeds]
    return Training(
        counts=records[0]["images"]["train"],
        steps=records[0]["steps"],
        best_steps={seed: record["best_step"] for seed, record in zip(seeds, records, strict=True)},
        seconds=float(sum(record["seconds"] for record in records)),
    )


def _finetune(run: RunFolder, label: str) -> FineTune:
    folder = run.artifact("finetune", label)
    adapter = run.json(folder, "adapter.json")
    drawn = label in run.record["artifacts"].get("images", {})  # a class that is full already gets none
    columns = ["file_name", "steps", "guidance", "sampler", "negative_prompt"]
    made = run.table(run.artifact("images", label), "metadata.csv", columns) if drawn else pd.DataFrame()
    return FineTune(
        method=adapter["method"],
        prompt=adapter["prompt"],
        shots=len(adapter["shots"]["image_ids"]),
        steps=adapter["steps"],
        seconds=float(adapter["seconds"]),
        losses=_losses(run, folder),
        previews=_some(run.pictures(folder / "previews")),
        images=len(made),
        settings={name.replace("_", " "): str(made[name].iloc[0]) for name in columns[1:] if len(made)},
    )


def _losses(run: RunFolder, folder: Path) -> tuple[tuple[int, float], ...]:
    table = run.table(folder, "loss.csv", ["step", "loss"])
    try:
        rows = [(int(step), float(loss)) for step, loss in zip(table["step"], table["loss"], strict=True)]
    except ValueError as fault:
        raise InputError(f"{folder / 'loss.csv'}: {fault}; delete its folder and start the run again") from fault
    size = max(1, -(-len(rows) // _MOST_LOSSES))
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return tuple((part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts)


def _some(paths: tuple[str, ...]) -> tuple[str, ...]:
    """First, middle and last."""
    if len(paths) <= _MOST_PREVIEWS:
        return paths
    return (paths[0], paths[len(paths) // 2], paths[-1])


def _thumbs(run: RunFolder, label: str) -> dict[str, tuple[str, ...]]:
    names = {"real": "real", "synthetic": "synthetic"}
    names |= {arm: f"arm.{arm}." for arm in run.record["artifacts"].get("folder", {})}
    if PurePosixPath(label).name != label:
        return dict.fromkeys(names, ())
    folder = run.path / "thumbs" / label
    return {source: run.pictures(folder, f"{name}-*") for source, name in names.items()}


def _elsewhere(run: RunFolder, arm: str) -> Elsewhere:
    found = run.json(run.artifact("folder", arm), "elsewhere.json")
    named = {given["name"]: given["folder"] for given in run.record["config"]["arms"] if isinstance(given, dict)}
    return Elsewhere(
        folder=named[arm],  # the images are known by their bytes, wherever they lay when they were looked at
        images=found["images"],
        different=found["different"],
        seen=None if found["seen"] is None else len(found["seen"]),
        copies_of_train=len({image for image, _ in found["copies_of_train"]}),
    )


def _careless(run: RunFolder, seeds: tuple[str, ...]) -> Careless:
    found = [run.json(run.artifact("careless", seed), "careless.json") for seed in seeds]
    truth, classes = found[0]["truth"], found[0]["classes"]
    judged = Judged(
        truth=np.asarray(truth, dtype=np.int64),
        groups=np.arange(len(truth)).astype(np.str_),  # each image by itself, as one who splits so would take them
        classes=tuple(classes),
        seeds=seeds,
        named={"random split": np.stack([np.asarray(one["named"], dtype=np.int64) for one in found])},
        seeds_vary=False,
    )
    score = replace(
        judged.balanced_accuracy("random split"),
        varied="its test images, each taken as drawn by itself, as one who splits so would take them; the seeds are "
        "averaged, not drawn",
    )
    return Careless(balanced_accuracy=score, images=len(truth), leaked=found[0]["leaked"])


def _split(run: RunFolder) -> SplitCounts:
    ledger: dict[str, Any] = run.json(run.artifact("split"), "ledger.json")
    whole = run.json(run.path, "ledger.json") if (run.path / "ledger.json").is_file() else {}
    expected: dict[str, float] = whole.get("random_split", {})
    return SplitCounts(
        groups=ledger["groups"],
        links=ledger["links"],
        shared_groups=ledger["shared_groups"],
        parts={
            name: Part(images=p["images"], lesions=p["lesions"], groups=p["groups"], by_class=p["by_class"])
            for name, p in ledger["parts"].items()
        },
        random_split=tuple(
            Leak(
                label=r["label"],
                images=r["images"],
                leaked=r["leaked"],
                share=expected.get(r["label"], r["share"] if r["images"] else None),
            )
            for r in ledger["random_split"]
        ),
        seen=tuple(
            Seen(**{name: row[name] for name in ("kind", "name", "train", "validation", "test", "known")})
            for row in whole.get("seen", ())
        ),
        base_has_seen=_said(ledger.get("seen", {}).get("base", "unknown")),
        test=str(ledger.get("test", "by share")),
        left_out=len(ledger.get("left_out", ())),
    )


def _said(seen: object) -> str:
    """What a base has seen, in words: a number of images, or a record with `images`, `by_class` and `groups`.

    A base of the study's own tells that it is the `part` of the split, and what was seen `before` that.
    """
    if isinstance(seen, int):
        return f"{seen:,} images"
    if not isinstance(seen, dict):
        return str(seen)
    classes = ", ".join(f"{label} {count:,}" for label, count in seen.get("by_class", {}).items())
    groups = seen.get("groups", "")
    more = f"{len(groups):,} leakage groups" if isinstance(groups, list) else str(groups)
    said = _said(seen.get("images", "unknown")) + (f" ({classes})" if classes else "")
    said = said if more in {"", "unknown"} else f"{said}; {more}"
    said += f", all of the {seen['part']} part" if "part" in seen else ""
    return f"{said}; before that {_said(seen['before'])}" if "before" in seen else said
