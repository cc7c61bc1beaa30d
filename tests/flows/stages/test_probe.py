"""The probe shows test images of common classes to each classifier twice: as photographs and coded."""

import csv

import pytest

from augment.base.config import BaseConfig
from classify.config import ClassifierConfig
from data.pixels import PixelConfig
from data.splits.split import SplitConfig
from flows.execute import run_group
from flows.stages import probe as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig

SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path):
    def plan(drawn=False, counts=(8, 6, 3, 2), **changes):
        split = make_split(drawn=drawn, **dict(zip(("nv", "mel", "df", "vasc"), counts, strict=True)))
        chosen = {
            "split": SplitConfig(rare=("df", "vasc"), shots=2), "pixels": PixelConfig(size=16), "classifier": SMALL,
            "arms": ("real", "autoencoded"), "fill_to": 4, "seeds": (0,), "output_dir": str(tmp_path), **changes,
        }  # fmt: skip
        return make_plan(prepare_study(StudyConfig(**chosen), split))

    return plan


def probed(plan):
    return stage.images_of(plan.prepared)


def test_its_images_are_test_images_of_common_classes_alone(plan_of):
    plan = plan_of()
    assert probed(plan).counts() == {"mel": 6, "nv": 8}
    assert set(probed(plan).table["image_id"]) <= set(plan.prepared.split.test.table["image_id"])


def test_of_many_images_400_are_drawn_by_the_study_seed_in_the_order_of_the_table(plan_of):
    first, again, other = (probed(plan_of(counts=(350, 250, 3, 2), study_seeds=(seed,))).table for seed in (0, 0, 1))
    assert len(first) == len(set(first["image_id"])) == 400
    assert first.equals(again)
    assert not first.equals(other)
    whole = plan_of(counts=(350, 250, 3, 2)).prepared.split.test.table["image_id"].tolist()
    places = [whole.index(image) for image in first["image_id"]]
    assert places == sorted(places)
    assert 200 < (first["label"] == "nv").sum() < 265  # as they stand in the test part


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, 1),
        ({"arms": ("real", "synthetic")}, 1),
        ({"coding": "none"}, 1),  # then the trace is most to be feared
        ({"coding": "all"}, 0),  # the test part is coded itself
        ({"arms": ("real", "oversampled")}, 0),
        ({"fill_to": 1}, 0),
        ({"split": SplitConfig(rare=("nv", "mel", "df", "vasc"))}, 0),  # no class is common
    ],
)
def test_there_is_a_probe_where_an_arm_uses_the_base_and_the_test_part_is_not_coded(plan_of, changes, steps):
    plan = plan_of(**changes)
    assert len(plan.steps_of("probe")) == steps
    arms = plan.steps_of("arm")
    assert all(("probe" in step.needs) is bool(steps) for step in arms)


def test_another_base_or_form_makes_it_anew_and_another_classifier_does_not(plan_of):
    before = plan_of().step("probe").digest
    assert plan_of(seeds=(1,), classifier=ClassifierConfig()).step("probe").digest == before
    for change in ({"base": BaseConfig(source="owner/name")}, {"pixels": PixelConfig(size=32)}):
        assert plan_of(**change).step("probe").digest != before


def test_the_step_codes_these_images(plan_of, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(stage, "autoencode", lambda **given: asked.append(given))
    plan = plan_of()
    stage.make(plan, plan.step("probe"), tmp_path / "made", None)
    (given,) = asked
    assert given["part"].digest() == probed(plan).digest()
    assert (given["base"], given["written"]) == (plan.base, plan.prepared.study.generate)
    assert (given["out"], given["pixels"]) == (tmp_path / "made", plan.prepared.study.pixels)


class Answers:
    """Predictions of a classifier that calls coded images df, and photographs by their names."""

    classes = ("df", "mel", "nv", "vasc")

    def __init__(self, part):
        coded = part.table["root"] == stage.ROOT
        labels = part.table["image_id"].str.split("-").str[1].where(~coded, "df")
        self.predicted = [self.classes.index(label) for label in labels]


def test_photograph_and_coded_image_stand_in_one_row(plan_of, code, tmp_path, monkeypatch):
    plan = code(plan_of(drawn=True))
    monkeypatch.setattr(stage, "predict", lambda model, part, **_: Answers(part))
    stage.write_probe(plan, tmp_path)
    rows = list(csv.DictReader((tmp_path / stage.FILE).read_text().splitlines()))
    assert [row["image"] for row in rows] == probed(plan).table["image_id"].tolist()
    assert all(row["photograph"] == row["label"] and row["coded"] == "df" for row in rows)


def test_each_classifier_leaves_its_probe_beside_its_predictions(plan_of, code):
    plan = code(plan_of(drawn=True))
    step = plan.step("arm", "real", "0")
    run_group(plan, (step,), lambda *_: None)
    rows = list(csv.DictReader((step.target / stage.FILE).read_text().splitlines()))
    assert len(rows) == 14
    assert {row["label"] for row in rows} == {"mel", "nv"}
    assert {row[shown] for row in rows for shown in ("photograph", "coded")} <= set(Answers.classes)
    assert (step.target / "predictions.csv").exists()


def test_without_a_probe_nothing_is_written(plan_of, tmp_path):
    stage.write_probe(plan_of(arms=("real",)), tmp_path / "none")
    assert not (tmp_path / "none").exists()
