"""The gate in numbers: by class what was made, kept and refused, its controls, and the nearest pairs that are shown."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from reports.numbers import count, percent
from reports.schema import GateClass, GateControl, GatePair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from reports.run_folder import RunFolder

TABLE, RECORD = "gate.csv", "gate.json"
_COLUMNS = ["kept", "train_image", "train_similarity", "train_excess"]
_REASONS = {
    "copy of train": "copies of a train photograph",
    "like validation or test": "like a validation or test photograph",
    "off class": "off their class",
    "like another": "nearly another synthetic image",
}
_CONTROLS = {
    "strangers": "photographs of other lesions of the class",
    "strangers of other classes": "photographs of other classes",
    "twins": "another photograph of the same lesion",
}


def gate_classes(run: RunFolder) -> dict[str, GateClass]:
    """By class; empty where the study had no gate."""
    return {label: _class(run, label) for label in run.names("gate")}


def pooled_gate(repeats: Sequence[Mapping[str, GateClass]]) -> dict[str, GateClass]:
    """The counts of several repeats together; limits, controls and pairs stay those of each repeat's own report."""
    if not all(repeats):
        return {}
    return {label: _sum([one[label] for one in repeats if label in one]) for label in repeats[0]}


def reason(name: str) -> str:
    """What is wrong with an image that is refused for a reason."""
    return _REASONS.get(name, name)


def reasons(classes: Mapping[str, GateClass]) -> list[str]:
    """Every reason for which an image of some class is refused, the most frequent first."""
    total: dict[str, int] = {}
    for each in classes.values():
        for name, n in each.refused.items():
            total[name] = total.get(name, 0) + n
    return sorted(total, key=lambda name: -total[name])


def finding(classes: Mapping[str, GateClass]) -> str:
    """Whether the generator copies, in a sentence."""
    made = sum(each.made for each in classes.values())
    copies, alike = (sum(each.refused.get(name, 0) for each in classes.values()) for name in list(_REASONS)[:2])
    text = f"Of {count(made, 'synthetic image')} {_number(copies)} of a train photograph"
    return f"{text}, and {alike:,} {'looks' if alike == 1 else 'look'} like one of the validation or test part."


def is_clear(classes: Mapping[str, GateClass]) -> bool:
    """Whether no more images than a gate refuses by chance are copies or look-alikes: 2 of 100."""
    made = sum(each.made for each in classes.values())
    found = sum(each.refused.get(name, 0) for each in classes.values() for name in list(_REASONS)[:2])
    return found <= 0.02 * made


def short_of(classes: Mapping[str, GateClass]) -> str:
    """Which classes have fewer images left than their arm adds, in a sentence; empty where none has."""
    short = [f"{label} {each.kept:,} of {each.wanted:,}" for label, each in classes.items() if each.kept < each.wanted]
    return f"Too few are left to fill up {', '.join(short)}: the arm takes what there is." if short else ""


def control_name(name: str) -> str:
    """What a control is, in words."""
    kind, _, change = name.partition(": ")
    return f"a photograph of the class, changed: {change}" if kind == "planted" else _CONTROLS.get(name, name)


def control_in_words(control: GateControl) -> str:
    """How many of a control lie above the limit."""
    if not control.n:
        return "none to measure on"
    return f"{control.above:,} of {control.n:,}, {percent(control.above / control.n)}"


def _number(copies: int) -> str:
    return "1 is a copy" if copies == 1 else f"{copies:,} are copies"


def _class(run: RunFolder, label: str) -> GateClass:
    folder = run.artifact("gate", label)
    record = run.json(folder, RECORD)
    controls = record["copies"]["controls"]
    classifier: dict[str, Any] = record["classifier"] or {}
    return GateClass(
        made=record["made"],
        kept=record["kept"],
        wanted=record["wanted"],
        refused=record["refused"],
        limit=record["copies"]["limit"],
        controls=tuple(GateControl(name=name, n=each["n"], above=each["above"]) for name, each in controls.items()),
        features=str(classifier.get("features", "")),
        recall=classifier.get("recalls", {}).get(label),
        least_probability=classifier.get("least_probability"),
        pairs=_pairs(run, label, run.table(folder, TABLE, _COLUMNS)),
    )


def _pairs(run: RunFolder, label: str, table: pd.DataFrame) -> tuple[GatePair, ...]:
    """The nearest pairs of which the run keeps pictures, the nearest first as they were written."""
    if PurePosixPath(label).name != label:  # would lead out of the folder
        return ()
    folder = run.path / "thumbs" / label
    synthetic, real = (run.pictures(folder, f"pair-*-{name}.*") for name in ("synthetic", "real"))
    rows = table[table["train_image"] != ""].assign(excess=lambda t: t["train_excess"].astype(float))
    rows = rows.sort_values("excess", ascending=False, kind="stable")
    return tuple(
        GatePair(
            synthetic=one,
            real=other,
            similarity=float(row["train_similarity"]),
            excess=float(row["train_excess"]),
            is_kept=row["kept"] == "yes",
        )
        for one, other, (_, row) in zip(synthetic, real, rows.iterrows(), strict=False)
    )


def _sum(classes: Sequence[GateClass]) -> GateClass:
    names = sorted({name for each in classes for name in each.refused})
    return GateClass(
        made=sum(each.made for each in classes),
        kept=sum(each.kept for each in classes),
        wanted=sum(each.wanted for each in classes),
        refused={name: sum(each.refused.get(name, 0) for each in classes) for name in names},
        limit=None,
        controls=(),
        features=classes[0].features,
        recall=None,
        least_probability=None,
        pairs=(),
    )
