"""An oracle of phantoms: a classifier trained on many true ones, drawn from seeds that no study uses.

python -m classify.oracle [--out runs/oracle]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from classify.config import ClassifierConfig, result_settings
from classify.metrics import Recall, Scores, score, wilson
from classify.predict import Predictions, predict
from classify.train import ArmTask, train_arm
from data.config import STRICT, parse, to_dict
from data.errors import ConfigError, DataError, exit_code
from data.manifest import Manifest
from data.phantoms.table import CODES, PhantomConfig
from data.pixels import PixelConfig
from data.progress import Progress
from data.sources.load import DataConfig, load_manifest
from data.splits.split import SplitConfig, make_split
from data.store import building, finished

HALF, ABOVE_BASE = 0.5, 0.3  # the aim of fine-tuning
FEWEST = 4  # images of a class that recall is measured on
STUDY_SEEDS = 1_000_000  # phantoms of studies and of the base have seeds below, the oracle's lie above


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OracleConfig:
    """How the oracle is trained. The defaults take six to seven minutes on two cores."""

    images: Annotated[int, Field(ge=70)] = 3500  # phantoms, as many of each class; a tenth is for validation
    seed: Annotated[int, Field(ge=STUDY_SEEDS)] = 9_000_000  # of its phantoms; those that test it have the next
    pixels: PixelConfig = PixelConfig()
    classifier: ClassifierConfig = ClassifierConfig(steps=1200, validate_every=150)


def train_oracle(folder: Path, config: OracleConfig, progress: Progress | None = None) -> Path:
    """The oracle's model folder; it is trained unless it is there."""
    plain = to_dict(config) | {
        "classifier": result_settings(config.classifier) | {"threads": config.classifier.threads}
    }
    target, inputs = folder / "classifier", {"stage": "oracle", "version": 1, "config": plain}
    if not finished(target, inputs):
        phantoms = _phantoms(config.images, config.seed, folder)
        split = make_split(phantoms, SplitConfig(test_size=0.05, val_size=0.1, rare=()), config.seed)
        train = Manifest.concat(split.train, split.test)  # other phantoms test it
        with building(target, inputs) as partial:
            train_arm(
                task=ArmTask(arm="oracle", seed=0, train=train, validation=split.validation),
                config=config.classifier,
                pixels=config.pixels,
                out=partial,
                cache=folder / "cache",
                progress=progress,
            )
    return target / "model"


def true_phantoms(folder: Path, config: OracleConfig, per_class: int) -> Manifest:
    """Phantoms of every class that neither a study nor the oracle was trained on."""
    if per_class < FEWEST:
        raise ConfigError(f"{per_class} images a class are too few to measure recall by; ask for {FEWEST} or more")
    return _phantoms(per_class * len(CODES), config.seed + 1, folder)


def oracle_predictions(model: Path, images: Manifest, cache: Path | None = None) -> Predictions:
    """The oracle's predictions of each image."""
    return predict(model, images, cache=cache)


def recognised(predictions: Predictions, label: str) -> Recall:
    """Recall of the oracle on the images of a class, with Wilson's interval."""
    if predictions.labels is None or label not in predictions.classes:
        raise DataError(f"nothing is known of {label!r} here; the oracle knows {', '.join(predictions.classes)}")
    own = [k for k, truth in enumerate(predictions.labels) if truth == label]
    hits = sum(predictions.classes[predictions.predicted[k]] == label for k in own)
    return wilson(hits, len(own))


def reaches_aim(true: Recall, before: Recall, after: Recall) -> bool:
    """Whether recall after fine-tuning reaches the aim: half that of true phantoms, and 0.3 above the base's."""
    return after.value >= max(HALF * true.value, before.value + ABOVE_BASE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the oracle, print its recall on true phantoms, and return the exit code."""
    parser = argparse.ArgumentParser(prog="classify.oracle", description="Train the oracle of phantoms.")
    parser.add_argument("--out", type=Path, default=Path("runs/oracle"), help="its folder (default: runs/oracle)")
    parser.add_argument("--images", type=int, default=100, help="true phantoms a class to test it on (default: 100)")
    parser.add_argument("--train-images", type=int, default=OracleConfig().images, help="phantoms to train on, in all")
    parser.add_argument("--steps", type=int, default=OracleConfig().classifier.steps, help="optimiser steps")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _evaluate(parsed))


def _evaluate(parsed: argparse.Namespace) -> int:
    classifier = {"steps": parsed.steps, "validate_every": max(1, parsed.steps // 8)}
    config = parse(OracleConfig, {"images": parsed.train_images, "classifier": classifier}, "oracle")
    model = train_oracle(parsed.out, config, _print)
    predictions = oracle_predictions(model, true_phantoms(parsed.out, config, parsed.images), parsed.out / "cache")
    print(_table(predictions.classes, score(predictions.truth, predictions.predicted, len(predictions.classes))))
    print(f"oracle: {model}")
    return 0


def _phantoms(images: int, seed: int, folder: Path) -> Manifest:
    phantom = PhantomConfig(images=images, seed=seed, balanced=True)
    return load_manifest(DataConfig(source="phantom", phantom=phantom), folder / "data")


def _table(classes: Sequence[str], scores: Scores) -> str:
    rows = [
        f"{label:>8} {recall.hits:4d}/{recall.n:<4d} {recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]"
        for label, recall in zip(classes, scores.recalls, strict=True)
    ]
    return "\n".join([*rows, f"balanced accuracy {scores.balanced_accuracy:.3f}"])


def _print(done: int, total: int, note: str = "") -> None:
    if done % 50 == 0 or done == total:
        print(f"step {done} of {total}, {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
