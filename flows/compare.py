"""From train tables to classifiers, one an arm and seed, each tested once; then the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from classify.arms import compose, limit_to_shots
from classify.config import what_decides
from classify.predict import predict
from classify.train import train_arm
from data.manifest import Manifest
from data.splits.class_counts import fill_counts
from data.splits.split import Split
from flows.elsewhere import Elsewhere, elsewhere_of
from flows.ledger import classifier_of
from flows.prepare import Images
from flows.steps import Step, Watch
from flows.study import StudyConfig, inputs, settings
from flows.synthesize import read_synthetic, refuse_leaks
from flows.weights import leave_record, weights_identity


def train_part(config: StudyConfig, split: Split, shots: Mapping[str, Manifest]) -> Manifest:
    """Give the real images that classifiers train on: all of the train part, or only the shots of rare classes."""
    return limit_to_shots(split.train, shots) if config.split.limit_real_to_shots else split.train


def counts_to_draw(config: StudyConfig, train: Manifest) -> dict[str, int]:
    """Count the images to draw of each rare class; none where no arm trains on them."""
    return fill_counts(train, config.split.rare, config.fill_to) if "synthetic" in config.arms else {}


def folder_images(config: StudyConfig, images: Images, split: Split, train: Manifest) -> dict[str, Elsewhere]:
    """Choose the images of every arm that was made elsewhere, as many as the other arms add."""
    wanted = fill_counts(train, config.split.rare, config.fill_to)
    return {arm.name: elsewhere_of(config, arm, images, split, wanted) for arm in config.folder_arms}


def arm_step(
    config: StudyConfig,
    images: Images,
    split: Split,
    train: Manifest,
    arm: str,
    seed: int,
    drawn: Mapping[str, Step],
    given: Elsewhere | None = None,
) -> Step:
    """Train one arm's classifier with one seed, and let it name the test part; `given` are images made elsewhere."""
    counts = {} if arm == "real" else fill_counts(train, config.split.rare, config.fill_to)
    depends = inputs(
        "arm",
        arm=arm,
        seed=seed,
        train=images.identity_of(train),
        validation=images.identity_of(split.validation),
        test=images.identity_of(split.test),
        filled={label: count for label, count in counts.items() if count},
        synthetic=_added(arm, drawn, given),
        pixels=settings(config.pixels),
        classifier=what_decides(config.classifier),
        weights=weights_identity(config.classifier.weights),
    )

    def make(folder: Path, watch: Watch) -> None:
        refuse_leaks(split, drawn)
        made = given.read() if given else read_synthetic(config, drawn) if arm == "synthetic" and drawn else None
        table = compose("synthetic" if given else arm, train, made, config.split.rare, config.fill_to)
        cache = Path(config.runs) / "cache"
        train_arm(
            arm, seed, table, split.validation, config.pixels, config.classifier, folder, cache,
            lambda step, steps, loss: watch(step, steps, f"loss {loss:.3f}"),
        )  # fmt: skip
        seen = classifier_of(config, train, arm, drawn, {arm: given} if given else {})
        first = config.classifier.weights
        leave_record(folder / "model", seen.ids, train, split.validation, first, known=seen.known)
        predict(folder / "model", split.test, cache=cache).write(folder / "predictions.csv")

    what = f"{arm} {seed}"
    return Step(stage="arm", what=what, folder=config.folder / "arm" / f"{arm}-{seed}", inputs=depends, make=make)


def _added(arm: str, drawn: Mapping[str, Step], given: Elsewhere | None) -> dict[str, str]:
    """Digests of the synthetic images that the arm trains on."""
    if given:
        return {"folder": given.step.digest}
    return {label: step.digest for label, step in drawn.items()} if arm == "synthetic" else {}
