"""One step is made alone, by its name, and lies where a run looks for it."""

import dataclasses
from pathlib import Path

import pytest

from flows.augment_and_evaluate import main as run
from flows.show_plan import write_plans
from flows.stages.table import make_plan
from flows.step import main, make_step, study_of
from flows.study import StudyConfig

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(split={"rare": ("df",)}, output_dir=str(tmp_path / "runs"), seeds=(0,))
    return make_plan(prepare_study(study, make_split(drawn=False)))


def test_an_unknown_step_is_refused_with_those_that_there_are(plan, plain_runner):
    with pytest.raises(ValueError, match="the plan has no step 'arm mixed 0'; it has fine-tune df, images df"):
        make_step(plan, "arm mixed 0", plain_runner)


def test_a_step_of_another_digest_is_refused(plan, plain_runner):
    with pytest.raises(ValueError, match=r"step 'fine-tune df' is \w{12} here, but abc is wanted: the data, the"):
        make_step(plan, "fine-tune df", plain_runner, digest="abc")


def test_a_step_whose_needs_are_not_finished_is_refused(plan, plain_runner):
    with pytest.raises(ValueError, match="step 'images df' needs 'fine-tune df', which is not finished"):
        make_step(plan, "images df", plain_runner)
    assert plain_runner.stages == []


@pytest.mark.slow
def test_steps_made_alone_are_found_finished_by_the_run_and_made_again_from_its_folder(small_study, tmp_path, capsys):
    config, *overrides = small_study
    overrides = [*overrides, f"output_dir={tmp_path}", "name=alone", "arms=[real, oversampled]"]
    assert main([config, "arm real 0", *overrides]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(str(tmp_path / "alone" / "arm" / "real-0-"))
    assert run([config, *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[2][:10] for line in lines if "arm real 0" in line] == [" kept from"]
    assert main([str(tmp_path / "alone"), "arm oversampled 0"]) == 0
    assert "kept from before" in capsys.readouterr().out


def test_a_run_that_was_moved_is_made_where_it_lies_now(plan, tmp_path):
    write_plans(plan.prepared.study, [plan])
    moved = (tmp_path / "shared" / "renamed").absolute()
    moved.parent.mkdir()
    plan.prepared.study.folder.rename(moved)
    study, digests = study_of(moved)
    assert study.folder == moved
    assert digests == {step.id: step.digest for step in plan.steps}


def test_the_run_of_the_present_folder_is_made_there(plan, monkeypatch):
    write_plans(plan.prepared.study, [plan])
    folder = plan.prepared.study.folder.resolve()
    monkeypatch.chdir(folder)
    assert study_of(Path())[0].folder == folder


def test_a_folder_that_is_no_run_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "arm real 0"]) == 2
    assert "holds no plan.json of a run; give a config, or a run folder" in capsys.readouterr().err


def test_a_study_of_several_repeats_is_refused_with_the_settings_of_one(tmp_path, capsys):
    config = tmp_path / "study.yaml"
    config.write_text("{name: mine, study_seeds: [4, 5], generator_seeds: [7], split: {n_splits: 3}}")
    assert main([str(config), "arm real 0"]) == 2
    error = capsys.readouterr().err
    assert "has 6 repeats, and a step is of one; add study_seeds=[4] generator_seeds=[7] split.fold=0, or give" in error
    assert "runs/mine/repeats/seed-4-generator-7-fold-0" in error
    overrides = ["study_seeds=[4]", "generator_seeds=[7]", "split.fold=0"]
    assert study_of(config, overrides)[0].repeats()[0].split.fold == 0


def test_a_step_of_a_repeat_is_made_from_its_folder_and_lies_in_the_study_s(plan, tmp_path):
    study = StudyConfig(split={"rare": ("df",)}, output_dir=str(tmp_path / "runs"), study_seeds=(0, 1))
    plans = [make_plan(dataclasses.replace(plan.prepared, study=repeat)) for repeat in study.repeats()]
    write_plans(study, plans)
    moved = study.folder.rename(tmp_path / "moved")
    found, digests = study_of(moved / "repeats" / "seed-1")
    assert (found.folder, found.study_seed, found.title) == (moved, 1, "seed 1")
    assert digests == {step.id: step.digest for step in plans[1].steps}
    with pytest.raises(ValueError, match=r"has 2 repeats, and a step is of one; add study_seeds=\[0\], or give"):
        study_of(moved)
