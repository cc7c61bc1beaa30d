"""The order of a run and what is said before anything is trained; whole runs stand in test_augment_and_evaluate.py."""

import dataclasses

import filelock
import pytest

from data.errors import InputError, TrainingError
from data.sources.external import FolderArm
from data.splits.split import SplitConfig
from flows import pipeline
from flows.pipeline import run_study, steps_of
from flows.study import StudyConfig

RARE = ("akiec", "df", "vasc")


def study(**changes):
    return StudyConfig(split=SplitConfig(rare=RARE), seeds=(0, 1), **changes)


ELSEWHERE = FolderArm(folder="x", name="theirs")
DREAMBOOTH = dataclasses.replace(StudyConfig().finetune, method="dreambooth")


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (study(arms=("real",)), 4 + 2),  # read, split, disk, report; a classifier a seed
        (study(arms=("real", "oversampled")), 4 + 4),
        (study(), 4 + 1 + 3 + 6),  # all classes taught in one piece of work, then drawn each
        (study(finetune=DREAMBOOTH), 4 + 3 + 3 + 6),
        (study(random_split=True), 4 + 1 + 3 + 8),
        (study(arms=("real", ELSEWHERE)), 4 + 1 + 4),
    ],
)
def test_the_steps_that_a_terminal_counts_to_are_those_of_the_run(config, steps):
    assert steps_of(config) == steps


def test_a_base_of_the_study_s_own_is_one_step_more_where_images_are_drawn():
    base = dataclasses.replace(StudyConfig().base, source="pretrain")
    assert steps_of(study(base=base)) == steps_of(study()) + 1
    assert steps_of(study(base=base, arms=("real",))) == steps_of(study(arms=("real",)))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A study whose images cannot be read, so that nothing after that is done."""

    def unread(config, watch):
        raise TrainingError("the images were asked for")

    monkeypatch.setattr(pipeline, "read_images", unread)
    classifier = dataclasses.replace(StudyConfig().classifier, model="test_efficientnet")
    return study(name="one", runs=str(tmp_path), classifier=classifier)


class Noted:
    """A conductor that notes what was asked of it."""

    def __init__(self):
        self.stages = []

    def __call__(self, stage, what, work):
        self.stages.append(stage)
        return work(lambda *_: None)


def test_two_runs_at_once_in_one_folder_are_refused_and_of_two_names_are_not(config):
    conduct = Noted()
    with filelock.FileLock(config.folder.with_name(".one.lock")):
        with pytest.raises(InputError, match="another run is at work there; wait for it, or set another name="):
            run_study(config, conduct)
        assert conduct.stages == []
        with pytest.raises(TrainingError, match="asked for"):
            run_study(dataclasses.replace(config, name="two"), conduct)
    with pytest.raises(TrainingError, match="asked for"):
        run_study(config, conduct)
    assert conduct.stages == ["read images", "read images"]


SHOWING = ("thumbs/df/real-0.jpg", "thumbs/gone/real-11.jpg", "report.html", ".report.html.77.tmp")
OTHERS = ("thumbs/df/synthetic-0.jpg", "thumbs/df/arm.real-0.-1.jpg", "summary.json", "run.json")


@pytest.fixture
def kept(config):
    """Gives what an earlier run left in the folder: files that show photographs, and others."""
    for name in (*SHOWING, *OTHERS):
        (config.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (config.folder / name).write_bytes(b"of an earlier run")
    folder = config.folder
    return lambda: {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_run_without_photographs_that_is_broken_off_leaves_none_of_an_earlier_run(config, kept):
    with pytest.raises(TrainingError, match="asked for"):
        run_study(dataclasses.replace(config, photographs=False), Noted())
    assert kept() == set(OTHERS)


def test_a_run_with_photographs_removes_nothing_before_it_has_others(config, kept):
    with pytest.raises(TrainingError, match="asked for"):
        run_study(config, Noted())
    assert kept() == {*SHOWING, *OTHERS}


def test_photographs_of_a_run_that_is_at_work_are_not_removed_by_another(config, kept):
    with filelock.FileLock(config.folder.with_name(".one.lock")), pytest.raises(InputError, match="at work there"):
        run_study(dataclasses.replace(config, photographs=False), Noted())
    assert kept() == {*SHOWING, *OTHERS}


def test_a_photograph_that_cannot_be_removed_ends_the_run_in_one_line_before_any_work(config):
    (config.folder / "report.html").mkdir(parents=True)
    conduct = Noted()
    with pytest.raises(InputError, match=r"report\.html: holds images of the data set, .*; remove it, or set another"):
        run_study(dataclasses.replace(config, photographs=False), conduct)
    assert conduct.stages == []


def test_a_classifier_that_cannot_be_begun_with_is_refused_before_images_are_read(config):
    conduct = Noted()
    classifier = dataclasses.replace(config.classifier, weights="nowhere.safetensors")
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        run_study(dataclasses.replace(config, classifier=classifier), conduct)
    assert conduct.stages == []


@pytest.mark.slow
def test_a_run_conducts_as_many_steps_as_it_was_said_to_have_and_the_report_last(small_study, tmp_path):
    from flows.study import load_study

    config = load_study(small_study[0], [*small_study[1:], f"runs={tmp_path}", "arms=[real]", "random_split=true"])
    conduct = Noted()
    found = run_study(config, conduct)
    assert conduct.stages == ["read images", "split", "disk", "arm", "random split", "report"]
    assert len(conduct.stages) == steps_of(config)
    assert found.report.is_file()
