"""What a random split would have reported stands beside the arms and never among them."""

import pytest

from classify.config import ClassifierConfig
from data.errors import ConfigError
from data.pixels import PixelConfig
from data.splits.random_split import random_split
from data.splits.split import SplitConfig
from data.store import read_json
from flows.execute import run_group
from flows.stages.table import make_plan
from flows.study import StudyConfig, load_study

SMALL = ClassifierConfig(model="test_efficientnet", steps=2, batch_size=4, validate_every=1)


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(
        split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=16), classifier=SMALL,
        output_dir=str(tmp_path / "runs"), arms=("real",), random_split=True, seeds=(0, 1),
    )  # fmt: skip
    split = make_split(df=6, nv=6)
    for part in split.parts().values():  # three images a group
        part.table["group_id"] = [f"{image[:-1]}{int(image[-1]) // 3}" for image in part.table["image_id"]]
    return make_plan(prepare_study(study, split))


def test_it_keeps_predictions_and_nothing_that_could_be_paired_with_an_arm(plan):
    step = plan.step("random_split", "0")
    run_group(plan, (step,), lambda *_: None)
    kept = {path.name for path in step.target.iterdir()}
    assert not {"model", "predictions.csv"} & kept
    record = read_json(step.target / "random_split.json")
    split = plan.prepared.split
    assert record["leaked"] == random_split(split, plan.prepared.study.study_seed).leaked > 0
    assert record["classes"] == ["df", "nv"]
    assert len(record["truth"]) == len(record["predicted"]) == len(split.test)
    table = plan.prepared.images.manifest.table
    ids = {*table["image_id"], *table["group_id"]}
    assert not any(name in path.read_text() for path in step.target.glob("*.json") for name in ids)


def test_there_is_a_step_a_seed(plan):
    assert [step.record for step in plan.steps_of("random split")] == [("random_split", "0"), ("random_split", "1")]


def test_where_the_classifier_is_limited_to_the_shots_it_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("random_split: true\nsplit: {limit_real_to_shots: true}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="random_split trains on a whole train part"):
        load_study(path)
