import dataclasses

import pytest

from flows.steps import Step, Together


@pytest.fixture
def made():
    return []


@pytest.fixture
def step(tmp_path, made):
    def make(folder, watch):
        watch(1, 1)
        made.append(folder)
        (folder / "result.txt").write_text("42", encoding="utf-8")

    return Step(stage="sum", what="one", folder=tmp_path / "sum", inputs={"a": 1}, make=make, heavy=False)


def quiet(done, total, note=""):
    pass


def test_a_step_is_made_once(step, made):
    first, second = step(quiet), step(quiet)
    assert (first.reused, second.reused) == (False, True)
    assert len(made) == 1
    assert second.seconds == first.seconds
    assert (second.folder / "result.txt").read_text(encoding="utf-8") == "42"


def test_an_artifact_with_a_damaged_file_is_made_anew(step, made):
    (step(quiet).folder / "result.txt").write_text("41", encoding="utf-8")
    assert not step(quiet).reused
    assert len(made) == 2


def test_the_folder_says_what_the_artifact_depends_on(step, tmp_path):
    other = Step(stage="sum", what="one", folder=tmp_path / "sum", inputs={"a": 2}, make=step.make, heavy=False)
    assert step.target != other.target
    assert step.target.name == f"sum-{step.digest[:12]}"


def test_a_step_that_fails_leaves_no_finished_artifact(step, tmp_path):
    def fails(folder, watch):
        (folder / "half.txt").write_text("4", encoding="utf-8")
        raise RuntimeError("no")

    broken = Step(stage="sum", what="one", folder=tmp_path / "sum", inputs={"a": 1}, make=fails, heavy=False)
    with pytest.raises(RuntimeError, match="no"):
        broken(quiet)
    assert not broken.target.exists()
    assert not step(quiet).reused


@pytest.fixture
def together(tmp_path):
    """Two artifacts that are made in one piece of work; gives how, and what was asked for."""
    asked = []

    def step(what):
        folder = tmp_path / what
        return Step(stage="sum", what=what, folder=folder, inputs={"what": what}, make=lambda *_: None, heavy=False)

    def make(folders, watch, complete):
        asked.append(sorted(folders))
        for what, folder in folders.items():
            (folder / "result.txt").write_text(what, encoding="utf-8")
            complete(what, 1.5)

    return Together(steps=(step("a"), step("b")), make=make), asked


def test_artifacts_made_together_are_kept_and_timed_each_by_itself(together):
    work, asked = together
    first, second = work(quiet), work(quiet)
    assert asked == [["a", "b"]]
    assert [(part.what, part.seconds, part.reused) for part in first.parts] == [("a", 1.5, False), ("b", 1.5, False)]
    assert (first.seconds, first.reused, second.reused) == (3.0, False, True)
    assert second.outcome == "a kept from before (took 2 s), b kept from before (took 2 s)"


def test_only_what_is_missing_is_made(together):
    work, asked = together
    parts = work(quiet).parts
    (parts[1].folder / "result.txt").write_text("c", encoding="utf-8")
    again = work(quiet)
    assert asked == [["a", "b"], ["b"]]
    assert [part.reused for part in again.parts] == [True, False]
    assert not again.reused
    assert again.outcome == "a kept from before (took 2 s), b 2 s"


def test_what_is_complete_stays_when_the_others_fail(together):
    work, _ = together

    def fails(folders, watch, complete):
        (folders["b"] / "result.txt").write_text("b", encoding="utf-8")
        complete("b", 1.0)
        (folders["a"] / "half.txt").write_text("a", encoding="utf-8")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        dataclasses.replace(work, make=fails)(quiet)
    assert not work.steps[0].target.exists()
    assert (work.steps[1].target / "result.txt").read_text(encoding="utf-8") == "b"
    assert work.steps[0].target.with_name(work.steps[0].target.name + ".partial").joinpath("half.txt").exists()
    assert [part.reused for part in work(quiet).parts] == [False, True]


def test_an_artifact_that_is_not_said_to_be_complete_is_not_finished(together):
    work, _ = together
    with pytest.raises(RuntimeError, match="sum: b was left incomplete"):
        dataclasses.replace(work, make=lambda folders, watch, complete: complete("a", 1.0))(quiet)
    assert work.steps[0].target.exists()
    assert not work.steps[1].target.exists()
