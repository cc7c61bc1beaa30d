"""Fine-tunes as they go."""

import json

import filelock
import pytest

from flows.page.training import DONE, INTERRUPTED, NOT_BEGUN, RUNNING, trainings

PLANNED = {"fine-tune df": {"digest": "d", "folder": "finetune/df-0123"}, "arm real 0": {"digest": "a", "folder": "a"}}


@pytest.fixture
def opened(open_one):
    return open_one(PLANNED)


@pytest.fixture
def partial(opened):
    folder = opened.study.folder / "finetune" / "df-0123.partial"
    (folder / "previews").mkdir(parents=True)
    return folder


def test_one_that_has_not_begun_has_nothing_to_show(opened):
    (found,) = trainings(opened)
    assert (found.label, found.state, found.step, found.losses, found.previews) == ("df", NOT_BEGUN, 0, (), ())


def test_one_whose_process_lives_is_running_and_else_interrupted(opened, partial):
    assert trainings(opened)[0].state == INTERRUPTED
    with filelock.FileLock(partial.with_name(".df-0123.lock")):
        assert trainings(opened)[0].state == RUNNING
    assert trainings(opened)[0].state == INTERRUPTED


def test_losses_and_the_newest_previews_are_read_while_it_trains(opened, partial):
    (partial / "loss.csv").write_text("step,loss,lr\n1,0.5,1\n2,0.25,1\n")
    (partial / "held_out.csv").write_text("step,loss\n2,0.75\n")
    for step in (*range(100, 900, 100), 1000):
        (partial / "previews" / f"step-{step:06d}.jpg").touch()
    (found,) = trainings(opened)
    assert (found.losses, found.held_out) == (((1, 0.5), (2, 0.25)), ((2, 0.75),))
    assert [path.name for path in found.previews][-2:] == ["step-000800.jpg", "step-001000.jpg"]
    assert len(found.previews) == 6
    assert found.step == 1000


@pytest.mark.parametrize("text", ["", "step\n1\n", "step,loss\n1,", "step,loss\nx,y\n"])
def test_a_table_that_is_being_written_shows_nothing(opened, partial, text):
    (partial / "loss.csv").write_text(text)
    assert trainings(opened)[0].losses == ()


def test_a_finished_one_is_read_where_it_lies(opened):
    folder = opened.study.folder / "finetune" / "df-0123"
    folder.mkdir(parents=True)
    (folder / "artifact.json").write_text(json.dumps({"digest": "d"}))
    (folder / "loss.csv").write_text("step,loss,lr\n7,0.5,1\n")
    (found,) = trainings(opened)
    assert (found.state, found.step) == (DONE, 7)
