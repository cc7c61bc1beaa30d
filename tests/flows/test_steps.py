import pytest

from flows.steps import Step


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
