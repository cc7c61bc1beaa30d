import dataclasses
import pickle

import pytest

from flows.steps import GroupResult, Step, StepResult, in_repeat


@pytest.fixture
def step(tmp_path):
    return Step(stage="arm", what="real 0", record=("arm", "real", "0"), folder=tmp_path / "real-0", inputs={"a": 1})


def test_a_step_is_named_by_its_stage_and_what_it_makes(step):
    assert step.id == "arm real 0"
    assert Step(stage="split", what="", record=("split",), folder=step.folder, inputs={}).id == "split"


def test_the_folder_says_what_the_artefact_depends_on(step, tmp_path):
    other = Step(stage="arm", what="real 0", record=step.record, folder=tmp_path / "real-0", inputs={"a": 2})
    assert step.target != other.target
    assert step.target.name == f"real-0-{step.digest[:12]}"
    assert not step.is_finished


def test_a_step_can_be_sent_to_another_process(step):
    assert pickle.loads(pickle.dumps(step)) == step  # noqa: S301 - our own


def result(what, *, reused):
    return StepResult(stage="fine-tune", what=what, seconds=1.6, reused=reused, folder=None)


def test_the_outcome_of_a_group_is_that_of_each_step():
    parts = (result("df", reused=True), result("vasc", reused=False))
    group = GroupResult(stage="fine-tune", what="df, vasc", seconds=3.2, reused=False, folder=None, parts=parts)
    assert group.outcome == "df kept from before (took 2 s), vasc 2 s"
    alone = GroupResult(stage="fine-tune", what="df", seconds=1.6, reused=True, folder=None, parts=parts[:1])
    assert alone.outcome == "kept from before (took 2 s)"


def test_a_piece_of_work_says_which_repeat_it_is_for():
    asked = []

    class Noting:
        def expect(self, pieces):
            asked.append(pieces)

        def __call__(self, stage, what, work):
            asked.append((stage, what))
            return work

    run = Noting()
    assert in_repeat(run, "") is run
    repeat = in_repeat(run, "seed 1, fold 2")
    repeat.expect(3)
    assert repeat("arm", "real 0", "the work") == "the work"
    repeat("split", "", "the work")
    assert asked == [3, ("arm", "real 0 (seed 1, fold 2)"), ("split", "(seed 1, fold 2)")]


def test_what_has_to_be_known_of_an_artefact_is_said_of_a_new_one_and_of_one_that_was_kept():
    part = dataclasses.replace(result("df", reused=False), note="stopped by request at step 3 of 6")
    assert part.outcome == "2 s, stopped by request at step 3 of 6"
    kept = dataclasses.replace(part, reused=True)
    assert kept.outcome == "kept from before (took 2 s), stopped by request at step 3 of 6"
