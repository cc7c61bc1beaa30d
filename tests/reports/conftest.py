"""A factory of run folders: laid out as flows leaves them, filled with random probabilities and small drawn squares."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
from PIL import Image

from augment.methods.record import AdapterRecord
from data.splits.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
RARE = ("akiec", "df", "vasc")
ARMS = ("real", "oversampled", "synthetic")
COLUMNS = ("image_id", "root", "path", "label", "group_id", "lesion_id", "patient_id", "source", "lineage")
TEST = {"nv": 60, "mel": 24, "bkl": 24, "bcc": 16, "akiec": 12, "vasc": 8, "df": 8}
TRAIN = {"nv": 200, "mel": 60, "bkl": 60, "bcc": 40, "akiec": 30, "vasc": 20, "df": 18}


class MakeRun(Protocol):
    """Makes a run folder and gives its path."""

    def __call__(self, **changes: Any) -> Path: ...


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A maker of run folders; every keyword of `write_run` can be changed."""
    return lambda **changes: write_run(tmp_path / changes.pop("name", "demo"), **changes)


@pytest.fixture
def make_study(tmp_path: Path) -> MakeRun:
    """A maker of the folders of studies that are repeated; every keyword of `write_study` can be changed."""
    return lambda **changes: write_study(tmp_path / "study", **changes)


def write_run(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    rare: Sequence[str] = RARE,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1),
    skill: Mapping[str, float] | None = None,
    absent: Iterable[str] = (),
    regime: str = "shots",
    source: str = "phantom",
    thumbs: int = 3,
    external: Mapping[str, Sequence[str] | None] | None = None,
    random_split: bool = False,
    fold: tuple[int, int] | None = None,
    study_seed: Sequence[int] = (0,),
) -> Path:
    """Write a run folder. `skill`: the logit that the right class gets in each arm; `absent`: classes not in test.

    `external`: what the generators of further arms have seen, None where it is not known; `fold`: which of how many;
    `study_seed`: it and, where it is another, the generator's.
    """
    external = dict(external or {})
    arms = (*arms, *external)
    rng = np.random.default_rng([7 + (fold[0] if fold else 0), *filter(None, study_seed)])
    folder.mkdir(parents=True)
    strength = dict.fromkeys(arms, 1.5) | dict(skill or {})
    test = {label: TEST.get(label, 10) for label in classes if label not in set(absent)}
    train = {label: TRAIN.get(label, 24) for label in classes}
    artifacts: dict[str, Any] = {"split": "split-0a1b", "arm": {}}
    _write_split(folder / "split-0a1b", train, test, classes, fold)
    synthetic = "synthetic" in arms
    for number, label in enumerate(rare if synthetic else ()):
        artifacts.setdefault("finetune", {})[label] = f"finetune/{number}-22"
        artifacts.setdefault("images", {})[label] = f"images/{number}-33"
        _write_finetune(folder / f"finetune/{number}-22", label, rng)
        _write_images(folder / f"images/{number}-33", label, 60 - train[label])
    for arm in arms:
        for seed in seeds:
            path = f"arm/{arm}-{seed}-44"
            artifacts["arm"].setdefault(arm, {})[str(seed)] = path
            logits = rng.normal(size=(sum(test.values()), len(classes)))
            _write_arm(folder / path, arm, seed, classes=classes, rare=rare, train=train, test=test, logits=logits,
                       strength=strength[arm], fold=fold)  # fmt: skip
    for seed in seeds if random_split else ():
        artifacts.setdefault("random_split", {})[str(seed)] = f"random-split/{seed}-66"
        _write_random_split(folder / f"random-split/{seed}-66", test, rng)
    for arm, seen in external.items():
        artifacts.setdefault("external", {})[arm] = f"external/{arm}-55"
        _write_external(folder, arm, seen, rare, thumbs)
    for label in rare if "autoencoded" in arms else ():
        artifacts.setdefault("autoencoded", {})[label] = f"autoencoded/{label}-77"
    for number, label in enumerate(classes):
        _write_thumbs(folder / "thumbs" / label, number, thumbs, ("real", "synthetic") if label in rare and synthetic
                      else ("real",))  # fmt: skip
    _write_provenance(folder, classes, arms, external)
    record = _record(folder.name, classes=classes, rare=rare, arms=arms, seeds=seeds, regime=regime, source=source,
                     artifacts=artifacts, fold=fold, seed=study_seed)  # fmt: skip
    write_json(folder / "run.json", record)
    return folder


def write_study(folder: Path, seeds: Sequence[Sequence[int]], **changes: Any) -> Path:
    """Write the folder of a study that is repeated over these seeds: artefacts in it, records in `repeats`."""
    names = []
    for number, seed in enumerate(seeds):
        made = write_run(folder / f"of-{number}", study_seed=seed, **changes)
        names.append("repeats/" + "-".join(f"{what}-{n}" for what, n in zip(("seed", "generator"), seed, strict=False)))
        records = folder / names[-1]
        records.mkdir(parents=True)
        for name in ("thumbs", "provenance.json", "run.json"):
            (made / name).rename(records / name)
        record = json.loads((records / "run.json").read_text())
        record["config"] |= {"is_repeat": True, "name": folder.name}
        record |= {"name": folder.name, "artifacts": _within(record["artifacts"], made.name)}
        write_json(records / "run.json", record)
    write_json(folder / "run.json", {"name": folder.name, "config": {}, "repeats": names})
    return folder


def _within(artifacts: Any, folder: str) -> Any:
    if isinstance(artifacts, str):
        return f"{folder}/{artifacts}"
    return {name: _within(entry, folder) for name, entry in artifacts.items()}


def _seeds_of(seed: Sequence[int]) -> dict[str, list[int]]:
    return {"study_seeds": [seed[0]], "generator_seeds": list(seed[1:])}


def write_json(path: Path, value: object) -> None:
    """Write JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _manifest(part: str, counts: Mapping[str, int]) -> list[list[str]]:
    """Two images a lesion, one lesion a group."""
    rows = []
    for label, count in counts.items():
        for i in range(count):
            lesion = f"{part}-{label}-{i // 2}"
            rows.append([f"{part}-{label}-{i}", "data", f"images/{part}-{i}.jpg", label, f"g-{lesion}", lesion,
                         f"p-{lesion}", "real", ""])  # fmt: skip
    return rows


def _tested(fold: tuple[int, int] | None) -> str:
    return f"fold{fold[0]}" if fold else "test"


def _write_split(
    folder: Path, train: Mapping[str, int], test: Mapping[str, int], classes: Sequence[str],
    fold: tuple[int, int] | None,
) -> None:  # fmt: skip
    parts = {"train": dict(train), "validation": dict.fromkeys(classes, 6), "test": dict(test)}
    rows = {part: _manifest(part, counts) for part, counts in parts.items()}
    if fold:  # what the other folds test
        others = [row for n in range(fold[1]) if n != fold[0] for row in _manifest(f"fold{n}", test)]
        rows = {"train": others, "validation": [], "test": _manifest(_tested(fold), test)}
    for part, found in rows.items():
        _write_csv(folder / f"{part}.csv", COLUMNS, found)
    leakage = {
        "test": "by share",
        "left_out": [],
        "groups": 410,
        "links": {"lesion": 300, "patient": 120, "group": 0, "duplicate": 7},
        "parts": {
            part: {"images": sum(c.values()), "lesions": sum(c.values()) // 2, "groups": sum(c.values()) // 2,
                   "by_class": c}
            for part, c in parts.items()
        },
        "shared_groups": 0,
        "random_split": [
            {"label": label, "images": n, "leaked": n // 3, "share": (n // 3) / n}
            for label, n in {**test, "all": sum(test.values())}.items()
        ],
    }  # fmt: skip
    write_json(folder / "leakage.json", leakage)


def _write_provenance(
    folder: Path, classes: Sequence[str], arms: Sequence[str], external: Mapping[str, Sequence[str] | None]
) -> None:
    """What each part of the run has seen, from a base of unknown lineage."""

    def row(kind: str, name: str, counts: tuple[int, int, int], *, is_complete: bool = True) -> dict[str, Any]:
        parts = dict(zip(("train", "validation", "test"), counts, strict=True))
        return {"kind": kind, "name": name, "is_complete": is_complete, **parts, "groups": sum(counts),
                "sha256": "ab" * 32}  # fmt: skip

    makers = [row("external", arm, (len(seen or ()), 0, 0), is_complete=seen is not None)
              for arm, seen in external.items()]  # fmt: skip
    base = [row("base", "hub", (0, 0, 0), is_complete=False)] if {"synthetic", "autoencoded"} & set(arms) else []
    generators = [row("generator", "df", (8, 0, 0), is_complete=False)] if "synthetic" in arms else []
    classifiers = [row("classifier", arm, (214, 0, 0), is_complete=arm in ("real", "oversampled")) for arm in arms]
    judges = [row("checkpoint", "", (0, 21, 0)), row("figures", "", (0, 0, 76))]
    rows = [*base, *generators, *makers, *classifiers, *judges]
    leaks = dict.fromkeys((*classes, "all"), 0.39) | {"mel": 0.683}
    trained_on = {"images": 9000, "by_class": {"mel": 4000, "nv": 5000}, "groups": "drawn by a program"}
    record = {"groups": {}, "rows": rows, "random_split": leaks, "base": trained_on if base else {}}
    write_json(folder / "provenance.json", record)


def _write_finetune(folder: Path, label: str, rng: np.random.Generator) -> None:
    steps = range(1, 201)
    loss = 0.2 + 0.3 * np.exp(-np.arange(200) / 40) + 0.05 * rng.normal(size=200)
    _write_csv(folder / "loss.csv", ("step", "loss", "lr"), [(s, x, 1e-4) for s, x in zip(steps, loss, strict=True)])
    for step in (100, 200):
        _picture(folder / f"previews/step-{step:06d}.jpg", (40 + step // 2, 60, 90), size=(128, 32))
    AdapterRecord(
        method="lora", display_name="LoRA", label=label, prompt=f"dermoscopy of {label}", negative_prompt="",
        token=None, steps=200, final_loss=float(loss[-1]), config={"rank": 16}, key="k", weights="weights.safetensors",
        sha256="ab" * 32, base={"source": "tiny"}, pixels={"size": 64}, seed=0, trained_with=[label], seconds=41.5,
        provenance=Provenance(image_ids=frozenset(f"train-{label}-{i}" for i in range(0, 16, 2))),
    ).write(folder)  # fmt: skip


def _write_images(folder: Path, label: str, count: int) -> None:
    rows = [(f"images/{label}-{i:06d}.jpg", label, "f00", "tiny", f"dermoscopy of {label}", "", i, 20, 2.0, 1.0,
             "dpmsolver++2m") for i in range(count)]  # fmt: skip
    header = ("file_name", "label", "adapter", "base", "prompt", "negative_prompt", "seed", "steps",
              "guidance_scale", "guidance_end", "sampler")  # fmt: skip
    _write_csv(folder / "metadata.csv", header, rows)


def _write_arm(
    folder: Path, arm: str, seed: int, *, classes: Sequence[str], rare: Sequence[str], train: Mapping[str, int],
    test: Mapping[str, int], logits: np.ndarray, strength: float, fold: tuple[int, int] | None,
) -> None:  # fmt: skip
    truth = [label for label, count in test.items() for _ in range(count)]
    for row, label in zip(logits, truth, strict=True):
        row[list(classes).index(label)] += strength
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    header = [label.upper() for label in classes] if set(classes) <= set(CLASSES) else list(classes)
    names = [row[0] for row in _manifest(_tested(fold), test)]
    _write_csv(folder / "predictions.csv", ["image", *header],
               [[name, *map(float, p)] for name, p in zip(names, probabilities, strict=True)])  # fmt: skip
    counts = {}
    for label, n in train.items():
        added = 60 - n if label in rare and arm != "real" else 0
        counts[label] = {
            "real": n,
            "repeated": {"oversampled": added, "autoencoded": max(added - n, 0)}.get(arm, 0),
            "synthetic": {"oversampled": 0, "autoencoded": min(added, n)}.get(arm, added),
        }
    write_json(folder / "arm.json", {
        "arm": arm, "seed": seed, "best_step": 150, "steps": 200, "samples": 6400, "seconds": 35.2,
        "labels": list(classes), "images": {"train": counts, "validation": {}},
        "validation_balanced_accuracy": 0.6, "config": {},
    })  # fmt: skip


def _write_random_split(folder: Path, test: Mapping[str, int], rng: np.random.Generator) -> None:
    truth = [k for k, n in enumerate(test.values()) for _ in range(n)]
    predicted = [k if rng.random() < 0.8 else 0 for k in truth]
    record = {"classes": list(test), "truth": truth, "predicted": predicted, "leaked": 60}
    write_json(folder / "random_split.json", record)


def _write_external(folder: Path, arm: str, seen: Sequence[str] | None, rare: Sequence[str], thumbs: int) -> None:
    pairs = [["0.png", "a"], ["0.png", "b"], ["1.png", "a"]]
    found = {"images": 30, "different": 29, "seen": seen, "copies_of_train": pairs}
    write_json(folder / f"external/{arm}-55/external.json", found)
    for number, label in enumerate(rare):
        for i in range(thumbs):
            _picture(folder / "thumbs" / label / f"arm.{arm}.-{i}.jpg", (90 - 9 * number, 150 - 7 * i, 200))


def _write_thumbs(folder: Path, hue: int, count: int, sources: Iterable[str]) -> None:
    for source in sources:
        for i in range(count):
            _picture(folder / f"{source}-{i}.jpg", (200 - 9 * hue, 150 - 7 * i, 120 + 5 * hue))


def _picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (24, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def _record(
    name: str, *, classes: Sequence[str], rare: Sequence[str], arms: Sequence[str], seeds: Sequence[int], regime: str,
    source: str, artifacts: dict[str, Any], fold: tuple[int, int] | None, seed: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    timing = [
        {"stage": "split", "what": "1,074 images", "seconds": 2.1, "reused": False},
        *({"stage": "finetune", "what": label, "seconds": 41.5, "reused": False}
          for label in artifacts.get("finetune", {})),
        *({"stage": "images", "what": label, "seconds": 9.25, "reused": True} for label in artifacts.get("images", {})),
        *({"stage": "arm", "what": f"{arm}, seed {seed}", "seconds": 35.2, "reused": False}
          for arm in arms for seed in seeds),
    ]  # fmt: skip
    return {
        "name": name, "started": "2026-11-21T09:00:00+00:00", "finished": "2026-11-21T09:06:12+00:00",
        "config": {
            "name": name, **_seeds_of(seed), "is_repeat": False, "data": {"source": source, "folder": None},
            "pixels": {"size": 64},
            "split": {"rare": list(rare), "shots": 8, "limit_real_to_shots": regime == "limited",
                      "n_splits": fold[1] if fold else None, "fold": fold[0] if fold else None},
            "base": {"source": "tiny", "revision": None}, "finetune": {"method": "lora", "rank": 16, "steps": 200},
            "generate": {"steps": 20, "guidance_scale": 2.0}, "prompts": {"class_names": {}},
            "classifier": {"model": "efficientnet_b0", "weights": "none", "steps": 200},
            "arms": [{"folder": f"/made/{arm}", "name": arm} if arm in artifacts.get("external", {}) else arm
                     for arm in arms], "fill_to": None, "seeds": list(seeds), "output_dir": "runs",
        },
        "versions": {"python": "3.11.9", "torch": "2.15.0", "diffusers": "0.42.1"},
        "machine": {"system": "Linux", "processor": "x86_64, 2 cores", "accelerator": "none"},
        "seeds": {"study_seed": seed[0], "generator_seed": seed[-1], "seeds": list(seeds)},
        "base": {"source": "tiny", "sha256": "ab" * 32},
        "regime": regime, "rare": list(rare), "arms": list(arms), "classes": list(classes), "artifacts": artifacts,
        "timings": timing,
    }  # fmt: skip
