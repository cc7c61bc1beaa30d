"""What an arm trains on and is tested by, with a true classifier of two steps.

Which settings redo an arm stands in test_table.py, what external images do in test_external.py.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from augment.generate.record import GeneratedImages
from classify.arms import counts_by_source
from classify.config import ClassifierConfig
from classify.model import load, logits
from classify.predict import Predictions
from data.errors import DataError
from data.pixels import PixelConfig, load_pixels
from data.splits.provenance import Provenance
from data.splits.split import SplitConfig
from data.store import building, read_json
from flows.execute import run_group
from flows.stages import arm
from flows.stages.table import make_plan
from flows.study import StudyConfig

SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path, code):
    """The plan of a study whose photographs are coded already, where any are."""
    split = make_split(nv=6, mel=4, df=3)

    def plan(**changes):
        study = StudyConfig(**{
            "split": SplitConfig(rare=("df",), shots=2), "pixels": PixelConfig(size=16), "classifier": SMALL,
            "output_dir": str(tmp_path / "runs"), "seeds": (0,), "fill_to": 5, **changes,
        })  # fmt: skip
        return code(make_plan(prepare_study(study, split)))

    return plan


@pytest.fixture
def plan(plan_of):
    return plan_of()


def generate(plan, monkeypatch, *seen):
    """The synthetic images of df, whose generator has seen these groups."""
    step = plan.step("images", "df")
    with building(step.target, step.inputs) as folder:
        (folder / "images").mkdir()
        names = [f"images/df-{i:06d}.png" for i in range(plan.prepared.synthetic_counts["df"])]
        for seed, name in enumerate(names):
            noise = np.random.default_rng(100 + seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name)
        rows = pd.DataFrame({"file_name": names, "label": "df", "adapter": "0", "seed": "0", "prompt": ""})
        rows.to_csv(folder / "metadata.csv", index=False)
    provenance = Provenance(image_ids=frozenset(seen), group_ids=frozenset(seen))
    read = GeneratedImages.read
    monkeypatch.setattr(
        GeneratedImages,
        "read",
        lambda path: type("Record", (), {"provenance": provenance, "stopped": None}) if path else read(path),
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
    assert tables["oversampled"].counts() == tables["synthetic"].counts() == {"df": 5, "mel": 4, "nv": 6}
    sources = {name: table.table["source"].value_counts().to_dict() for name, table in tables.items()}
    assert sources == {"real": {"real": 13}, "oversampled": {"real": 15}, "synthetic": {"real": 13, "synthetic": 2}}


def test_few_photographs_doses_and_synthetic_images_alone_are_what_an_arm_s_name_says(plan_of, monkeypatch):
    plan = plan_of(arms=("real", "real@2", "synthetic", "synthetic-only", "synthetic@2x", "synthetic@0.4x"))
    generate(plan, monkeypatch)
    counts = {name: counts_by_source(task(plan, name).train) for name in plan.prepared.study.arm_names}
    df = {name: (found["df"]["real"], found["df"]["synthetic"]) for name, found in counts.items()}
    assert df == {
        "real": (3, 0),
        "real@2": (2, 0),
        "synthetic": (3, 2),
        "synthetic-only": (0, 2),
        "synthetic@2x": (3, 6),
        "synthetic@0.4x": (3, 1),
    }
    for found in counts.values():
        assert (found["nv"]["real"], found["mel"]["real"]) == (6, 4)


def task(plan, name):
    """What a classifier of the arm is trained on; nothing is trained."""
    return arm.task_of(plan, plan.prepared.study.arm_table[name], 0)


def photographs(table):
    """Ids of the photographs in a table, each once."""
    return set(table.table["image_id"][table.table["source"] == "real"].str.partition("~")[0])


EVERY = ("real", "real@2", "oversampled", "autoencoded", "synthetic", "synthetic-first", "synthetic-only")


@pytest.mark.parametrize("limited", [False, True])
def test_the_coded_photographs_of_an_arm_are_those_of_photographs_that_it_trains_on(plan_of, monkeypatch, limited):
    plan = plan_of(arms=EVERY, split=SplitConfig(rare=("df",), shots=2, limit_real_to_shots=limited))
    generate(plan, monkeypatch)
    for name in EVERY:
        found = task(plan, name)
        twins = set(found.coded.table["image_id"])
        assert twins == {f"coded-{image}" for image in photographs(found.train)}, name
        assert found.coded.counts().get("df", 0) == {"real@2": 2, "synthetic-only": 0}.get(name, 2 if limited else 3)
        assert {"nv": 6, "mel": 4}.items() <= found.coded.counts().items()
        assert set(found.coded.table["root"]) == {"autoencoded"}
        assert not set(found.train.table["image_id"]) & twins
        assert found.coding == "mixed"


def test_of_a_class_with_many_photographs_some_have_coded_ones_and_none_has_another_s(plan_of, monkeypatch):
    monkeypatch.setattr("flows.stages.autoencoded._MOST", 2)
    plan = plan_of(arms=EVERY)
    generate(plan, monkeypatch)
    for name in EVERY:
        found = task(plan, name)
        assert found.coded.counts() == {"mel": 2, "nv": 2} | ({} if name == "synthetic-only" else {"df": 2}), name
        assert set(found.coded.table["image_id"].str.removeprefix("coded-")) <= photographs(found.train)


def test_under_mixed_coding_validation_and_test_are_photographs(plan):
    found = task(plan, "real")
    assert found.validation.digest() == plan.prepared.split.validation.digest()
    assert set(found.train.table["root"]) == set(found.validation.table["root"]) == {"r"}


def test_where_all_is_coded_every_part_shows_coded_images_under_the_photographs_ids(plan_of, monkeypatch):
    plan = plan_of(coding="all", arms=("real", "oversampled", "autoencoded"), fill_to=6)
    folder, table = trained(plan, "oversampled", monkeypatch)
    split, found = plan.prepared.split, task(plan, "oversampled")
    assert found.coded is None
    assert found.validation.table["image_id"].tolist() == split.validation.table["image_id"].tolist()
    pairs = zip(split.validation.paths(), found.validation.paths(), strict=True)
    assert all((pixels(one) == 255 - pixels(other)).all() for one, other in pairs)
    assert set(table.table["root"]) == {"autoencoded"}
    assert photographs(table) == set(split.train.table["image_id"])

    predictions, classifier = Predictions.read(folder / "predictions.csv"), load(folder / "model")
    assert predictions.image_ids == tuple(split.test.table["image_id"])
    images = load_pixels(split.test, PixelConfig(size=16))
    coded = torch.as_tensor(logits(classifier.network, classifier.coder(images), 32)).softmax(dim=1).numpy()
    assert predictions.probabilities == pytest.approx(coded, abs=1e-4)
    plain = torch.as_tensor(logits(classifier.network, images, 32)).softmax(dim=1).numpy()
    assert np.abs(plain - coded).max() > 1e-3
    assert not (folder / "probe.csv").exists()
    coded = task(plan, "autoencoded").train
    assert set(coded.of("df").table["lineage"]) - {""} == {f"autoencoded:train-df-{i}" for i in range(3)}


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_without_coding_an_arm_of_synthetic_images_has_photographs_as_they_are_and_no_twins(plan_of, monkeypatch):
    plan = plan_of(coding="none")
    generate(plan, monkeypatch)
    found = task(plan, "synthetic")
    assert (found.coded, found.coding) == (None, "none")
    assert set(found.train.table["root"]) == {"r", "synthetic"}
    assert not plan.steps_of("autoencoded")


def test_the_autoencoded_arm_has_none_of_what_its_study_hides_from_classifiers(plan_of):
    split = SplitConfig(rare=("df",), shots=2, limit_real_to_shots=True)
    for coding in ("mixed", "all", "none"):
        plan = plan_of(split=split, arms=("real", "autoencoded"), coding=coding)
        sources = set(task(plan, "autoencoded").train.of("df").table["lineage"].str.removeprefix("autoencoded:"))
        assert sources - {""} == set(plan.prepared.shots["df"].table["image_id"])


def test_an_arm_s_own_settings_are_laid_over_the_study_s(plan_of):
    plan = plan_of(arms=("real", "balanced", "classical", "mixup"))
    study = plan.prepared.study
    settings = {name: arm.classifier_config(study, one) for name, one in study.arm_table.items()}
    assert settings["real"] == study.classifier
    assert settings["balanced"] == dataclasses.replace(study.classifier, sampling=1.0)
    assert settings["classical"] == dataclasses.replace(study.classifier, augmentation="randaugment")
    assert settings["mixup"] == dataclasses.replace(study.classifier, mixup=0.2, cutmix=1.0)
    digests = {plan.step("arm", name, "0").digest for name in study.arm_names}
    assert len(digests) == 4


def test_the_test_and_validation_parts_are_predicted_once_and_the_classifier_says_what_it_has_seen(plan, monkeypatch):
    generate(plan, monkeypatch, "train-df-0")
    folder, _ = trained(plan, "real", monkeypatch)
    split = plan.prepared.split
    predictions = Predictions.read(folder / "predictions.csv")
    assert predictions.image_ids == tuple(split.test.table["image_id"])
    assert predictions.classes == ("df", "mel", "nv")
    validation = Predictions.read(folder / "validation.csv")
    assert (validation.image_ids, validation.classes) == (
        tuple(split.validation.table["image_id"]),
        predictions.classes,
    )
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


def test_an_arm_s_classifiers_have_seen_its_photographs_and_no_others(plan_of, monkeypatch):
    plan = plan_of(arms=("real", "real@2", "oversampled"))
    folder, table = trained(plan, "real@2", monkeypatch)
    record = read_json(folder / "model" / "training.json")
    assert set(record["provenance"]["image_ids"]) == photographs(table)
    assert record["by_class"] == {"df": 2, "mel": 4, "nv": 6}


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
