"""What an arm trains on and is tested by, with a true classifier of two steps.

Which settings redo an arm stands in test_table.py, what external images do in test_external.py.
"""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.generate.record import GeneratedImages
from classify.config import ClassifierConfig
from classify.predict import Predictions
from data.errors import DataError
from data.pixels import PixelConfig
from data.splits.provenance import Provenance
from data.splits.split import SplitConfig
from data.store import building, read_json
from flows.execute import run_group
from flows.stages import arm
from flows.stages.table import make_plan
from flows.study import StudyConfig

SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(
        split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=16), classifier=SMALL,
        output_dir=str(tmp_path / "runs"), seeds=(0,),
    )  # fmt: skip
    return make_plan(prepare_study(study, make_split()))


def generate(plan, monkeypatch, *seen):
    """Two synthetic images of df, whose generator has seen these groups."""
    step = plan.step("images", "df")
    with building(step.target, step.inputs) as folder:
        (folder / "images").mkdir()
        names = [f"images/df-{i:06d}.png" for i in range(2)]
        for seed, name in enumerate(names):
            noise = np.random.default_rng(100 + seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name)
        rows = pd.DataFrame({"file_name": names, "label": "df", "adapter": "0", "seed": "0", "prompt": ""})
        rows.to_csv(folder / "metadata.csv", index=False)
    provenance = Provenance(image_ids=frozenset(seen), group_ids=frozenset(seen))
    read = GeneratedImages.read
    monkeypatch.setattr(
        GeneratedImages, "read", lambda path: type("Record", (), {"provenance": provenance}) if path else read(path)
    )


def trained(plan, name, monkeypatch):
    """The finished arm, and the table that its classifier was trained on."""
    tables, train = [], arm.train_arm

    def train_and_note(*, task, **more):
        tables.append(task.train)
        return train(task=task, **more)

    monkeypatch.setattr(arm, "train_arm", train_and_note)
    step = plan.step("arm", name, "0")
    run_group(plan, (step,), lambda *_: None)
    monkeypatch.setattr(arm, "train_arm", train)
    (table,) = tables
    return step.target, table


def test_each_arm_trains_on_its_own_table_and_the_filled_ones_on_equal_counts(plan, monkeypatch):
    generate(plan, monkeypatch, "train-df-0")
    tables = {name: trained(plan, name, monkeypatch)[1] for name in plan.prepared.study.arm_names}
    assert tables["real"].digest() == plan.prepared.split.train.digest()
    assert tables["oversampled"].counts() == tables["synthetic"].counts() == {"df": 4, "mel": 4, "nv": 6}
    sources = {name: table.table["source"].value_counts().to_dict() for name, table in tables.items()}
    assert sources == {"real": {"real": 12}, "oversampled": {"real": 14}, "synthetic": {"real": 12, "synthetic": 2}}


def test_the_test_part_is_predicted_once_and_the_classifier_says_what_it_has_seen(plan, monkeypatch):
    generate(plan, monkeypatch, "train-df-0")
    folder, _ = trained(plan, "real", monkeypatch)
    split = plan.prepared.split
    predictions = Predictions.read(folder / "predictions.csv")
    assert predictions.image_ids == tuple(split.test.table["image_id"])
    assert predictions.classes == ("df", "mel", "nv")
    record = read_json(folder / "model" / "training.json")
    assert set(record["provenance"]["group_ids"]) == set(split.train.table["group_id"])
    assert set(record["chosen_by"]["group_ids"]) == set(split.validation.table["group_id"])


def test_an_arm_whose_generator_has_seen_evaluation_images_is_refused_before_training(plan, monkeypatch):
    generate(plan, monkeypatch, "test-df-1")
    monkeypatch.setattr(arm, "train_arm", lambda **_: pytest.fail("trained"))
    step = plan.step("arm", "synthetic", "0")
    with pytest.raises(DataError, match=r"the generator of .* has seen 1 leakage groups of the test part"):
        run_group(plan, (step,), lambda *_: None)
    assert not step.target.exists()


def test_an_arm_of_images_of_a_base_that_has_seen_what_judges_is_refused_before_it_is_trained(
    make_split, prepare_study, tmp_path, monkeypatch
):
    study = StudyConfig(
        split=SplitConfig(rare=("df",)), classifier=SMALL, arms=("real", "autoencoded"), seeds=(0,),
        output_dir=str(tmp_path / "runs"),
    )  # fmt: skip
    plan = make_plan(prepare_study(study, make_split(drawn=False)))
    seen = Provenance(image_ids=frozenset(["validation-df-1"]))
    monkeypatch.setattr("flows.provenance.base_provenance", lambda _base: seen)
    monkeypatch.setattr(arm, "train_arm", lambda **_: pytest.fail("trained"))
    with pytest.raises(DataError, match=r"what arm autoencoded is trained on has seen 1 leakage groups of the valid"):
        run_group(plan, (plan.step("arm", "autoencoded", "0"),), lambda *_: None)


def test_a_generator_that_has_seen_the_test_part_spoils_no_arm_without_its_images(plan, monkeypatch):
    generate(plan, monkeypatch, "test-df-1")
    assert trained(plan, "oversampled", monkeypatch)[0].exists()
