"""What a random split of images would have reported: the same classifier, trained and judged on parts that leak.

Its step leaves no model and no image ids or groups beside what was named, so nothing of it can be paired with an arm.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from classify.config import what_decides
from classify.predict import predict
from classify.train import train_arm
from data.splits.random_split import CarelessSplit
from data.store import write_json
from flows.prepare import Images
from flows.steps import Step, Watch
from flows.study import StudyConfig, inputs, settings
from flows.weights import weights_identity

RECORD = "careless.json"


def careless_step(config: StudyConfig, images: Images, split: CarelessSplit, seed: int) -> Step:
    """Train the real arm's classifier on the careless split, and note what it names the images asked about."""
    parts = {"learnt": split.learnt, "chosen_by": split.chosen_by, "asked": split.asked}
    depends = inputs(
        "careless",
        seed=seed,
        parts={name: images.identity_of(part) for name, part in parts.items()},
        pixels=settings(config.pixels),
        classifier=what_decides(config.classifier),
        weights=weights_identity(config.classifier.weights),
    )

    def make(folder: Path, watch: Watch) -> None:
        cache = Path(config.runs) / "cache"
        train_arm(
            "random split", seed, split.learnt, split.chosen_by, config.pixels, config.classifier, folder, cache,
            lambda step, steps, loss: watch(step, steps, f"loss {loss:.3f}"),
        )  # fmt: skip
        judged = predict(folder / "model", split.asked, cache=cache)
        shutil.rmtree(folder / "model")
        write_json(
            folder / RECORD,
            {
                "classes": judged.classes,
                "truth": judged.truth.tolist(),
                "named": judged.predicted.tolist(),
                "leaked": split.leaked,
            },
        )

    what = f"seed {seed}, not to be believed"
    return Step(
        stage="random split", what=what, folder=config.folder / "careless" / str(seed), inputs=depends, make=make
    )
