"""Do the arms measure the content of images, or their coding? Answered with images whose content is known.

The synthetic images of this check are phantoms passed through the embedded autoencoder: once new ones of the right
class, which should gain what as many further photographs gain, and once images of common classes under a rare label,
which must not gain by being coded. The phantoms are of seeds that no study uses.

    python benchmarks/content.py [--seeds 3] [--added 48] [--out runs/content]
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from augment.base.config import BaseConfig
from augment.base.load import load_base
from classify.comparison import Comparison
from classify.config import ClassifierConfig
from classify.fit import Labelled, fit
from classify.mix import CODED, PHOTOGRAPH, SYNTHETIC, Coding
from classify.model import logits
from classify.tested import Tested
from data.coding import Coder
from data.errors import exit_code
from data.manifest import Manifest
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.splits.split import SplitConfig, first_photographs, make_split

SEED = 600_000  # of the phantoms; neither a study's, the base's, the start's nor the oracle's
RARE, SHOTS = ("akiec", "df", "vasc"), 16
CLASSIFIER = ClassifierConfig(weights="phantoms", steps=256, learning_rate=2e-3, ema_decay=0.99, validate_every=128)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Phantoms of every part, as pixels."""

    labels: tuple[str, ...]
    shots: Manifest  # the train part, of rare classes only the shots
    more: Manifest  # further photographs of rare classes
    common: Manifest  # of other classes, to be mislabelled
    validation: Manifest
    test: Manifest
    pixels: Mapping[str, UInt8[np.ndarray, "size size 3"]]  # by image id
    coded: Mapping[str, UInt8[np.ndarray, "size size 3"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check and print a table; 1 if an arm is not where its content says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="classifiers an arm")
    parser.add_argument("--added", type=int, default=48, help="images added to each rare class")
    parser.add_argument("--steps", type=int, default=CLASSIFIER.steps, help="optimiser steps of a classifier")
    parser.add_argument("--out", type=Path, default=Path("runs/content"), help="folder of the phantoms")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _check(parsed))


def _check(parsed: argparse.Namespace) -> int:
    images = _images(parsed.out, parsed.added)
    config = dataclasses.replace(CLASSIFIER, steps=parsed.steps)
    print(f"{parsed.added} images added to {SHOTS} of each rare class, {parsed.seeds} seeds an arm", flush=True)
    failed = False
    codings: tuple[Coding, ...] = ("mixed", "none")
    for coding in codings:
        tables = _tables(images, parsed.added, coding)
        named = {name: _predicted(images, table, config, coding, parsed.seeds) for name, table in tables.items()}
        failed |= _report(images, coding, named) and coding == "mixed"
    return int(failed)


def _images(folder: Path, added: int) -> Images:
    phantom = PhantomConfig(images=8000, seed=SEED, test_lesions=150)
    whole = load_manifest(DataConfig(source="phantom", phantom=phantom), folder / "data", _progress("drawing"))
    split = make_split(whole, SplitConfig(rare=RARE), SEED)
    few = {label: first_photographs(split.train, label, SHOTS, SEED) for label in RARE}
    further = Manifest.concat(*(first_photographs(split.train, label, SHOTS + added, SEED) for label in RARE))
    shots = set().union(*(set(part.table["image_id"]) for part in few.values()))
    is_rare = split.train.table["label"].isin(RARE)
    train = split.train.where(~is_rare | split.train.table["image_id"].isin(shots))
    more = further.where(~further.table["image_id"].isin(shots))
    others, rng = split.train.where(~is_rare), np.random.default_rng(SEED)
    taken = set(rng.choice(others.table["image_id"], added * len(RARE), replace=False))
    common, train = (
        others.where(others.table["image_id"].isin(taken)),
        train.where(~train.table["image_id"].isin(taken)),
    )
    used = Manifest.concat(train, more, common, split.validation, split.test)
    pixels = dict(zip(used.table["image_id"], load_pixels(used, PixelConfig(), folder / "cache"), strict=True))
    coder = Coder(load_base(BaseConfig()).vae, 95)
    ids = [image for part in (train, more, common) for image in part.table["image_id"]]
    progress, coded = _progress("coding"), {}
    for start in range(0, len(ids), 64):
        part = ids[start : start + 64]
        coded |= dict(zip(part, coder(np.stack([pixels[image] for image in part])), strict=True))
        progress(start + len(part), len(ids))
    return Images(
        labels=split.train.labels, shots=train, more=more, common=common, validation=split.validation, test=split.test,
        pixels=pixels, coded=coded,
    )  # fmt: skip


def _tables(images: Images, added: int, coding: Coding) -> dict[str, Labelled]:
    """What each arm trains on."""
    rare = np.repeat(RARE, added)
    own = images.shots.table
    repeats = [
        own.loc[own["label"] == label, "image_id"].to_numpy()[np.arange(added) % SHOTS] for label in RARE
    ]  # fmt: skip
    new, mislabelled = images.more.table, images.common.table["image_id"].to_numpy()
    true = [new.loc[new["label"] == label, "image_id"].to_numpy() for label in RARE]
    labels = {
        "oversampled": (np.concatenate(repeats), rare, PHOTOGRAPH),
        "more photographs": (np.concatenate(true), np.repeat(RARE, [len(ids) for ids in true]), PHOTOGRAPH),
        "true class, coded": (np.concatenate(true), np.repeat(RARE, [len(ids) for ids in true]), SYNTHETIC),
        "wrong class, coded": (mislabelled, rare[: len(mislabelled)], SYNTHETIC),
    }
    return {name: _labelled(images, *extra, coding) for name, extra in labels.items()}


def _labelled(images: Images, ids: Sequence[str], labels: Sequence[str], kind: int, coding: Coding) -> Labelled:
    """The shots with further images of one kind, and under mixed coding the coded photographs."""
    number, own = {label: k for k, label in enumerate(images.labels)}, images.shots.table
    rows = [(image, label, PHOTOGRAPH) for image, label in zip(own["image_id"], own["label"], strict=True)]
    rows += [(image, label, kind) for image, label in zip(ids, labels, strict=True)]
    if coding == "mixed":
        rows += [(image, label, CODED) for image, label, of_kind in rows if of_kind == PHOTOGRAPH]
    looks = [(images.pixels if of_kind == PHOTOGRAPH else images.coded)[image] for image, _, of_kind in rows]
    return Labelled(
        pixels=np.stack(looks),
        classes=np.array([number[label] for _, label, _ in rows]),
        kinds=np.array([of_kind for _, _, of_kind in rows]),
    )


def _predicted(
    images: Images, table: Labelled, config: ClassifierConfig, coding: Coding, seeds: int
) -> Int[np.ndarray, "seeds n"]:
    """Class numbers of the test part by classifiers of these seeds."""
    validation = _part(images, images.validation)
    test = np.stack([images.pixels[image] for image in images.test.table["image_id"]])
    found = []
    for seed in range(seeds):
        fitted = fit(table, validation, len(images.labels), config, seed=seed, coding=coding)
        found.append(logits(fitted.network, test).argmax(dim=1).numpy())
        _progress("training")(seed + 1, seeds)
    return np.stack(found)


def _part(images: Images, part: Manifest) -> Labelled:
    number = {label: k for k, label in enumerate(images.labels)}
    pixels = np.stack([images.pixels[image] for image in part.table["image_id"]])
    return Labelled(pixels=pixels, classes=np.array([number[label] for label in part.table["label"]]))


def _report(images: Images, coding: Coding, named: Mapping[str, Int[np.ndarray, "seeds n"]]) -> bool:
    """Print one coding's table; True if wrong content gains, or true content lies outside what photographs gain."""
    truth = _part(images, images.test).classes
    groups, k = images.test.table["group_id"].to_numpy(), len(images.labels)
    comparison = Comparison((Tested.of_classes(truth, groups, named, k),), k)
    print(f"\ncoding: {coding}")
    for name in named:
        arm = comparison.arm(name).balanced_accuracy
        print(f"  {name:<20} balanced accuracy {arm.value:.3f} [{arm.low:.3f}, {arm.high:.3f}]")
    gains = {}
    for first, second in (
        ("more photographs", "oversampled"), ("true class, coded", "oversampled"),
        ("true class, coded", "more photographs"), ("wrong class, coded", "oversampled"),
    ):  # fmt: skip
        gains[first, second] = whole = comparison.difference(first, second).balanced_accuracy
        value, low, high = (100 * each for each in (whole.value, whole.low, whole.high))
        print(f"  {first} less {second}: {value:+.1f} points [{low:+.1f}, {high:+.1f}]")
    wrong, true = gains["wrong class, coded", "oversampled"], gains["true class, coded", "more photographs"]
    return bool(wrong.low > 0 or not true.low <= 0 <= true.high)


def _progress(title: str):  # noqa: ANN202 - a data.progress.Progress
    def show(done: int, total: int, note: str = "") -> None:
        if done == total or done % 1000 < 64:  # noqa: PLR2004
            print(f"{title}: {done} of {total} {note}", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
