"""A plan finds its steps, says which base they start from, and groups what is one piece of work.

Which steps a study has stands in stages/test_table.py.
"""

import dataclasses

import pytest

from augment.base.config import BaseConfig
from flows.plan import Plan, own_steps
from flows.steps import Step
from flows.study import StudyConfig


def step(folder, stage, what, group="", **inputs):
    return Step(stage=stage, what=what, record=(stage, what), folder=folder / stage / what, inputs=inputs, group=group)


@pytest.fixture
def plan(prepare_study, make_split, tmp_path):
    """Two steps that are made together, two of another stage, and one more of the first, apart from the others."""
    made = [
        step(tmp_path, "draw", "a", "both"),
        step(tmp_path, "draw", "b", "both"),
        step(tmp_path, "fit", "a"),
        step(tmp_path, "fit", "b"),
        step(tmp_path, "draw", "c", "both"),
    ]
    study = StudyConfig(base=BaseConfig(source="owner/name"), output_dir=str(tmp_path))
    return Plan(prepare_study(study, make_split(drawn=False)), tuple(made))


def with_steps(plan, *steps):
    return Plan(plan.prepared, steps)


def test_a_step_is_found_by_the_keys_that_it_is_recorded_under(plan):
    assert plan.step("fit", "b") is plan.steps[3]
    assert plan.target("fit", "b") == plan.steps[3].target
    assert [each.what for each in plan.steps_of("draw")] == ["a", "b", "c"]


def test_neighbours_of_one_group_are_one_piece_of_work(plan):
    assert [[each.id for each in steps] for steps in plan.groups()] == [
        ["draw a", "draw b"], ["fit a"], ["fit b"], ["draw c"]
    ]  # fmt: skip


def test_the_base_is_the_study_s_unless_a_step_makes_one(plan, tmp_path):
    assert plan.base == plan.pipeline.base == BaseConfig(source="owner/name")
    own = step(tmp_path, "base", "from tiny")
    assert with_steps(plan, own, *plan.steps).base == BaseConfig(source=str(own.target))


def test_plans_of_one_digest_make_the_same_in_the_same_order(plan):
    first, *others = plan.steps
    moved = dataclasses.replace(first, folder=first.folder.with_name("elsewhere"))
    assert with_steps(plan, moved, *others).digest == plan.digest
    other = dataclasses.replace(first, inputs={"seed": 1})
    assert len({plan.digest, with_steps(plan, other, *others).digest, with_steps(plan, *others, first).digest}) == 3


def test_a_step_that_an_earlier_plan_makes_too_is_that_one_s_own(plan, tmp_path):
    first, second, *_ = plan.steps
    other = step(tmp_path, "draw", "a", "both", seed=1)
    plans = [plan, with_steps(plan, other, second), with_steps(plan, other, first)]
    assert own_steps(plans) == [list(plan.steps), [other], []]
