"""What a random split would have reported stands beside the arms and never among them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classify.config import ClassifierConfig
from data.errors import ConfigError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.splits.random_split import divide_carelessly
from data.splits.split import Split, SplitConfig
from data.store import read_json
from flows.careless import careless_step
from flows.compare import arm_step
from flows.pipeline import steps_of
from flows.prepare import Images
from flows.study import StudyConfig, load_study

SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


def part(folder, name, seed):
    """Two classes of six images, three a group, one grey a class."""
    rng, rows = np.random.default_rng(seed), []
    for label, grey in (("df", 60), ("nv", 180)):
        for i in range(6):
            image = f"{name}-{label}-{i}"
            Image.fromarray(rng.integers(grey - 20, grey + 20, (16, 16, 3), dtype=np.uint8)).save(
                folder / f"{image}.png"
            )
            rows.append(
                {"image_id": image, "path": f"{image}.png", "label": label, "group_id": f"{image[:-1]}{i // 3}"}
            )
    table = pd.DataFrame(rows).assign(root="r", source="real", lesion_id="", patient_id="", lineage="")
    return Manifest(table[list(COLUMNS)], {"r": folder})


@pytest.fixture
def study(tmp_path):
    split = Split(*(part(tmp_path, name, seed) for seed, name in enumerate(("train", "validation", "test"))))
    whole = Manifest.concat(*split.parts().values())
    contents = {image: image for image in whole.table["image_id"]}
    images = Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=whole, contents=contents)
    config = StudyConfig(
        split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=16), classifier=SMALL, runs=str(tmp_path / "runs"),
        random_split=True, seeds=(0, 1),
    )  # fmt: skip
    return config, images, split


def test_it_leaves_what_was_named_and_nothing_that_could_be_paired_with_an_arm(study):
    config, images, split = study
    careless = divide_carelessly(split, config.study_seed)
    step = careless_step(config, images, careless, 0)
    step(lambda *_: None)
    left = {path.name for path in step.target.iterdir()}
    assert not {"model", "predictions.csv"} & left
    record = read_json(step.target / "careless.json")
    assert record["leaked"] == careless.leaked > 0
    assert record["classes"] == ["df", "nv"]
    assert len(record["truth"]) == len(record["named"]) == len(split.test)
    ids = set(images.manifest.table["image_id"]) | set(images.manifest.table["group_id"])
    assert not any(name in path.read_text() for path in step.target.glob("*.json") for name in ids)


def test_asking_for_it_changes_no_arm(study):
    config, images, split = study
    without = dataclasses.replace(config, random_split=False)
    for arm in ("real", "oversampled"):
        before, after = (arm_step(c, images, split, split.train, arm, 0, {}).digest for c in (without, config))
        assert before == after
    assert steps_of(config) == steps_of(without) + 2


def test_an_arm_cannot_be_planned_on_it(study):
    config, images, split = study
    with pytest.raises(AttributeError, match="validation"):
        arm_step(config, images, divide_carelessly(split, 0), split.train, "real", 0, {})


def test_where_the_classifier_is_limited_to_the_shots_it_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("random_split: true\nsplit: {limit_real_to_shots: true}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="random_split trains on a whole train part"):
        load_study(path)
