"""Synthetic images of a class: how many, of what prompts may tell, with which adapter; and what those have seen."""

import dataclasses
from types import SimpleNamespace

import pytest

from augment.generate.config import GenerateConfig
from augment.generate.record import GeneratedImages
from augment.generate.run import generated_image_bytes
from augment.methods.record import AdapterRecord
from data.errors import DataError
from data.manifest import Manifest
from data.splits.provenance import Provenance
from data.splits.split import Split, SplitConfig
from flows.stages import images as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path):
    """The plan of a study whose table knows the sex of each patient."""
    parts = make_split(drawn=False, nv=8, mel=6, df=3, vasc=2).parts().values()
    split = Split(*(Manifest(part.table.assign(sex="male"), part.roots) for part in parts))

    def plan(**changes):
        rare = SplitConfig(rare=("df", "vasc"), shots=2)
        study = StudyConfig(**{"split": rare, "fill_to": 6, "output_dir": str(tmp_path), **changes})
        return make_plan(prepare_study(study, split))

    return plan


def with_sex():
    return dataclasses.replace(StudyConfig().prompts, sex="sex")


def test_each_class_gets_as_many_images_as_it_lacks_and_they_are_counted_on_the_disk(plan_of):
    steps = {step.what: step for step in plan_of().steps_of("images")}
    assert {what: step.inputs["count"] for what, step in steps.items()} == {"df": 3, "vasc": 4}
    size = generated_image_bytes(GenerateConfig(), StudyConfig().pixels.size)
    assert {what: step.disk.kept for what, step in steps.items()} == {"df": 3 * size, "vasc": 4 * size}


def test_what_a_prompt_may_tell_is_that_of_the_class_s_train_images_where_a_column_is_named(plan_of):
    assert stage.attributes_for(plan_of().prepared, "df") == []
    told = stage.attributes_for(plan_of(prompts=with_sex()).prepared, "df")
    assert [each.sex for each in told] == ["male"] * 3
    plans = plan_of(), plan_of(prompts=with_sex())
    assert len({plan.step("images", "df").inputs["attributes"] for plan in plans}) == 2


def test_a_negative_prompt_of_a_class_changes_the_images_of_that_class_alone(plan_of):
    plans = plan_of(), plan_of(generate=GenerateConfig(negative_prompts={"df": "hair"}))
    one, other = ({step.what: step.digest for step in plan.steps_of("images")} for plan in plans)
    assert one["vasc"] == other["vasc"]
    assert one["df"] != other["df"]


def test_captions_are_inputs_of_the_adapter_and_of_the_images_of_their_class(plan_of, tmp_path):
    prompts = dataclasses.replace(StudyConfig().prompts, captions="files")
    before = plan_of(prompts=prompts)
    (tmp_path / "real").mkdir()
    for image in range(3):
        (tmp_path / "real" / f"train-df-{image}.txt").write_text("blue veil", encoding="utf-8")
    after = plan_of(prompts=prompts)
    assert [each.more for each in stage.attributes_for(after.prepared, "df")] == ["blue veil"] * 3
    for kind in ("finetune", "images"):
        assert before.step(kind, "df").digest != after.step(kind, "df").digest
        assert before.step(kind, "vasc").digest == after.step(kind, "vasc").digest


def test_images_are_asked_for_with_the_adapter_of_their_class_and_its_prompt(plan_of, tmp_path, monkeypatch):
    asked, plan = [], plan_of(study_seeds=(3,), prompts=with_sex())
    monkeypatch.setattr(
        AdapterRecord, "read", lambda folder: SimpleNamespace(prompt=f"prompt of {folder.name}", stopped=None)
    )
    monkeypatch.setattr(stage, "generate", lambda **given: asked.append(given))
    stage.make(plan, plan.step("images", "df"), tmp_path / "made", None)
    (given,) = asked
    request, adapter = given["request"], plan.target("finetune", "df")
    assert (request.label, request.count, request.seed, request.size) == ("df", 3, 3, 64)
    assert (request.adapter, request.prompt) == (adapter, f"prompt of {adapter.name}")
    assert len(request.attributes) == 3
    assert (given["config"], given["out"]) == (plan.prepared.study.generate, tmp_path / "made")


def test_classes_share_one_pipeline_which_is_unloaded_when_the_stage_is_left(plan_of, monkeypatch):
    pipelines, plan = [], plan_of()
    monkeypatch.setattr(AdapterRecord, "read", lambda folder: SimpleNamespace(prompt="", stopped=None))
    monkeypatch.setattr(stage, "generate", lambda **given: pipelines.append(given["pipeline"]))
    for step in plan.steps_of("images"):
        stage.make(plan, step, step.target, None)
    assert pipelines[0] is pipelines[1]
    unloaded = []
    monkeypatch.setattr(pipelines[0], "unload", lambda: unloaded.append("both"))
    stage.unload(plan)
    assert unloaded == ["both"]


def test_a_study_without_synthetic_images_reads_none(plan_of):
    assert stage.read_images(plan_of(arms=("real", "oversampled"))) is None


def test_images_whose_generator_has_seen_what_judges_are_refused_and_their_folder_is_named(plan_of, monkeypatch):
    plan = plan_of()
    seen = {step.target: Provenance(group_ids=frozenset({"train-df-0"})) for step in plan.steps_of("images")}
    monkeypatch.setattr(GeneratedImages, "read", lambda folder: SimpleNamespace(provenance=seen[folder]))
    stage.refuse_leaks(plan)
    folder = plan.target("images", "vasc")
    seen[folder] = Provenance(group_ids=frozenset({"validation-nv-1"}))
    with pytest.raises(DataError, match=f"the generator of {folder} has seen 1 leakage groups of the validation part"):
        stage.refuse_leaks(plan)
