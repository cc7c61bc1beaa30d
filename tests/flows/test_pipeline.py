"""The order of a run and what is refused before any work; whole runs stand in test_augment_and_evaluate.py."""

import dataclasses

import filelock
import pytest

from augment.base.config import BaseConfig
from data.errors import BaseError, InputError, TrainingError
from data.splits.split import SplitConfig
from flows import prepare
from flows.pipeline import run_study
from flows.study import StudyConfig, load_study

RARE = ("akiec", "df", "vasc")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose images cannot be read, so that nothing after that is done."""

    def unread(study, progress):
        raise TrainingError("the images were asked for")

    monkeypatch.setattr(prepare, "read_images", unread)
    classifier = dataclasses.replace(StudyConfig().classifier, model="test_efficientnet")
    return StudyConfig(name="one", split=SplitConfig(rare=RARE), output_dir=str(tmp_path), classifier=classifier)


def test_two_runs_at_once_in_one_folder_are_refused_and_of_two_names_are_not(study, plain_runner):
    with filelock.FileLock(study.folder.with_name(".one.lock")):
        with pytest.raises(InputError, match="another run is at work there; wait for it, or set another name="):
            run_study(study, plain_runner)
        assert plain_runner.stages == []
        with pytest.raises(TrainingError, match="asked for"):
            run_study(dataclasses.replace(study, name="two"), plain_runner)
    with pytest.raises(TrainingError, match="asked for"):
        run_study(study, plain_runner)
    assert plain_runner.stages == ["read images", "read images"]


def test_weights_that_are_not_there_are_refused_before_images_are_read(study, plain_runner):
    classifier = dataclasses.replace(study.classifier, weights="nowhere.safetensors")
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        run_study(dataclasses.replace(study, classifier=classifier), plain_runner)
    assert plain_runner.stages == []


@pytest.mark.parametrize(
    ("base", "key"),
    [
        ({"source": "/nowhere"}, r"base\.source"),
        ({"source": "pretrain", "pretrain": {"init_from": "/nowhere"}}, r"base\.pretrain\.init_from"),
    ],
)
def test_a_base_that_lies_nowhere_is_refused_before_any_work_where_it_is_used(study, plain_runner, base, key):
    study = dataclasses.replace(study, base=BaseConfig(**base))
    with pytest.raises(BaseError, match=f"^{key}: /nowhere: no such file or folder; give `tiny`"):
        run_study(study, plain_runner)
    assert plain_runner.stages == []
    with pytest.raises(TrainingError, match="asked for"):
        run_study(dataclasses.replace(study, arms=("real", "oversampled")), plain_runner)


def kept_pictures(study):
    (study.folder / "thumbs" / "df").mkdir(parents=True)
    kept = [study.folder / "thumbs" / "df" / "real-0.jpg", study.folder / "report.html"]
    for path in kept:
        path.write_text("x")
    return kept


def test_a_run_that_embeds_no_real_images_removes_those_of_earlier_runs_before_any_work(study, plain_runner):
    kept = kept_pictures(study)
    with pytest.raises(TrainingError, match="asked for"):
        run_study(study, plain_runner)
    assert all(path.exists() for path in kept)
    with pytest.raises(TrainingError, match="asked for"):
        run_study(dataclasses.replace(study, embed_real_images=False), plain_runner)
    assert not any(path.exists() for path in kept)


def test_another_run_s_pictures_are_left_alone(study, plain_runner):
    kept = kept_pictures(study)
    with (
        filelock.FileLock(study.folder.with_name(".one.lock")),
        pytest.raises(InputError, match="another run is at work"),
    ):
        run_study(dataclasses.replace(study, embed_real_images=False), plain_runner)
    assert all(path.exists() for path in kept)


@pytest.mark.slow
def test_a_run_reads_divides_checks_makes_and_reports(small_study, tmp_path, plain_runner):
    study = load_study(small_study[0], [*small_study[1:], f"output_dir={tmp_path}", "arms=[real]", "random_split=true"])
    expected = []
    plain_runner.expect = expected.append
    found = run_study(study, plain_runner)
    assert plain_runner.stages == ["read images", "split", "disk", "arm", "random split", "report"]
    assert expected == [3]
    assert found.report.is_file()
