"""What an arm trains on and is tested by, with a true classifier of two steps.

Which settings redo an arm stands in test_study.py, what images made elsewhere do in test_elsewhere.py.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classify.config import ClassifierConfig
from classify.predict import Predictions
from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.splits.split import Split, SplitConfig
from data.store import read_json, write_json
from flows import compare
from flows.compare import arm_step, counts_to_draw, train_part
from flows.prepare import Images
from flows.steps import Step
from flows.study import StudyConfig

COUNTS = {"nv": 6, "mel": 4, "df": 2}  # a part; df is filled up to 4
SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


def part(folder, name):
    ids = [f"{name}-{label}-{i}" for label, n in COUNTS.items() for i in range(n)]
    rng = np.random.default_rng(len(name))
    for image in ids:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{image}.png")
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "group_id": ids, "path": [f"{i}.png" for i in ids]}
    labels = [image.split("-")[1] for image in ids]
    return Manifest(pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real"), {"r": folder})


@pytest.fixture
def study(tmp_path):
    split = Split(*(part(tmp_path, name) for name in ("train", "validation", "test")))
    whole = Manifest.concat(*split.parts().values())
    contents = {image: image for image in whole.table["image_id"]}
    images = Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=whole, contents=contents)
    config = StudyConfig(
        split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=16), classifier=SMALL, runs=str(tmp_path / "runs")
    )
    return config, images, split


def drawn(config, seen):
    """Two synthetic images of df, whose generator has seen these groups."""

    def make(folder, watch):
        (folder / "images").mkdir()
        names = [f"images/df-{i:06d}.png" for i in range(2)]
        for seed, name in enumerate(names):
            noise = np.random.default_rng(100 + seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name)
        rows = pd.DataFrame({"file_name": names, "label": "df", "adapter": "0", "seed": "0", "prompt": ""})
        rows.to_csv(folder / "metadata.csv", index=False)
        write_json(folder / "generation.json", {"seen": {"image_ids": seen, "group_ids": seen}})

    step = Step(stage="images", what="df", folder=config.folder / "images" / "df", inputs={"seen": seen}, make=make)
    step(quiet)
    return {"df": step}


def quiet(done, total, note=""):
    pass


def taught(study, arm, drawn_of=None, monkeypatch=None):
    """The finished arm, and the table that its classifier was trained on."""
    config, images, split = study
    tables, train = [], compare.train_arm

    def train_and_note(name, seed, table, *more):
        tables.append(table)
        return train(name, seed, table, *more)

    monkeypatch.setattr(compare, "train_arm", train_and_note)
    step = arm_step(config, images, split, split.train, arm, 0, drawn_of or {})
    step(quiet)
    (table,) = tables
    return step.target, table


def test_each_arm_trains_on_its_own_table_and_the_filled_ones_on_equal_counts(study, monkeypatch):
    config, _, split = study
    synthetic = drawn(config, ["train-df-0"])
    tables = {arm: taught(study, arm, synthetic, monkeypatch)[1] for arm in config.arms}
    assert tables["real"].digest() == split.train.digest()
    assert tables["oversampled"].counts() == tables["synthetic"].counts() == {"df": 4, "mel": 4, "nv": 6}
    sources = {arm: table.table["source"].value_counts().to_dict() for arm, table in tables.items()}
    assert sources == {"real": {"real": 12}, "oversampled": {"real": 14}, "synthetic": {"real": 12, "synthetic": 2}}


def test_the_test_part_is_named_once_and_the_classifier_says_what_it_has_seen(study, monkeypatch):
    _, _, split = study
    folder, _ = taught(study, "real", monkeypatch=monkeypatch)
    named = Predictions.read(folder / "predictions.csv")
    assert named.image_ids == tuple(split.test.table["image_id"])
    assert named.classes == ("df", "mel", "nv")
    record = read_json(folder / "model" / "training.json")
    assert set(record["groups"]) == set(split.train.table["group_id"])
    assert set(record["chosen_by"]["group_ids"]) == set(split.validation.table["group_id"])


def test_an_arm_whose_generator_has_seen_what_judges_is_refused_before_it_is_trained(study, monkeypatch):
    config, images, split = study
    monkeypatch.setattr(compare, "train_arm", lambda *given: pytest.fail("trained"))
    step = arm_step(config, images, split, split.train, "synthetic", 0, drawn(config, ["test-df-1"]))
    with pytest.raises(DataError, match=r"the generator of .* has seen 1 leakage groups of the test part"):
        step(quiet)
    assert not step.target.exists()


def test_images_are_drawn_only_for_a_study_with_an_arm_that_trains_on_them(study):
    config, _, split = study
    assert counts_to_draw(config, split.train) == {"df": 2}
    assert counts_to_draw(dataclasses.replace(config, fill_to=5), split.train) == {"df": 3}
    assert counts_to_draw(dataclasses.replace(config, arms=("real", "oversampled")), split.train) == {}


def test_classifiers_see_only_the_shots_of_rare_classes_where_the_study_asks_so(study):
    config, _, split = study
    shots = {"df": split.train.of("df").where(pd.Series([True, False]))}
    limited = dataclasses.replace(config, split=dataclasses.replace(config.split, limit_real_to_shots=True))
    assert train_part(config, split, shots).counts() == COUNTS
    assert train_part(limited, split, shots).counts() == COUNTS | {"df": 1}
