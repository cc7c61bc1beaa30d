"""The order of a run and what is refused before any work; whole runs stand in test_augment_and_evaluate.py."""

import dataclasses

import filelock
import pytest

from augment.base.config import BaseConfig
from data.errors import BaseError, InputError, TrainingError
from data.phantoms.table import PhantomConfig, write_phantoms
from data.splits.split import SplitConfig
from flows import prepare
from flows.pipeline import run_study
from flows.study import StudyConfig, load_study
from reports.schema import Summary

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


def test_what_a_killed_run_left_half_written_of_its_records_goes(study, plain_runner):
    study.folder.mkdir()
    (study.folder / ".plan.json.17.tmp").write_text("half", encoding="utf-8")
    with pytest.raises(TrainingError, match="asked for"):
        run_study(study, plain_runner)
    assert list(study.folder.iterdir()) == []


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


def artefacts(study, stage):
    """When each finished artefact of a stage was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (study.folder / stage).glob("*-*/artifact.json")}


class StopsAt:
    """A runner that is interrupted before a piece of work of this stage and title."""

    def __init__(self, stage, what):
        self.at = (stage, what)

    def expect(self, pieces):
        """Nothing is counted."""

    def __call__(self, stage, what, work):
        if (stage, what) == self.at:
            raise KeyboardInterrupt
        return work(lambda *_: None)


@pytest.mark.slow
def test_generator_seeds_share_what_they_can_and_a_run_that_was_stopped_goes_on(small_study, tmp_path, plain_runner):
    seeds = ["study_seeds=[0]", "generator_seeds=[1, 2]", "arms=[real, synthetic]"]
    study = load_study(small_study[0], [*small_study[1:], f"output_dir={tmp_path}", *seeds])
    with pytest.raises(KeyboardInterrupt):
        run_study(study, StopsAt("images", "df (seed 0, generator 2)"))
    before = {stage: artefacts(study, stage) for stage in ("arm", "finetune", "images")}
    assert {stage: len(found) for stage, found in before.items()} == {"arm": 2, "finetune": 2, "images": 1}
    assert not (study.folder / "run.json").exists()
    found = run_study(study, plain_runner)
    assert plain_runner.stages.count("read images") == 1
    after = {stage: artefacts(study, stage) for stage in before}
    assert {stage: len(found) for stage, found in after.items()} == {"arm": 3, "finetune": 2, "images": 2}
    assert all(after[stage][name] == time for stage in before for name, time in before[stage].items())
    summary = Summary.read(found.summary)
    assert found.report == study.folder / "report.html"
    assert [one.name for one in summary.repeats] == ["generator seed 1", "generator seed 2"]
    assert (summary.study_seeds, summary.generator_seeds) == ((0,), (1, 2))
    assert sum(timing.stage == "arm" for timing in summary.timings) == 3


@pytest.mark.slow
def test_folds_of_two_study_seeds_are_four_repeats_of_one_run(small_study, tmp_path, plain_runner):
    repeats = [
        "study_seeds=[0, 1]",
        "split.n_splits=2",
        "data.phantom.images=112",
        "arms=[real, oversampled]",
        "embed_real_images=false",
    ]
    study = load_study(small_study[0], [*small_study[1:], f"output_dir={tmp_path}", *repeats])
    expected = []
    plain_runner.expect = expected.append
    found = run_study(study, plain_runner)
    assert plain_runner.stages == [
        "read images", *["split"] * 4, "power", "disk", *["arm", "arm", "report"] * 4, "report"
    ]  # fmt: skip
    assert expected == [4 * 3 + 1]
    summary = Summary.read(found.summary)
    assert [one.name for one in summary.repeats] == [
        f"study seed {seed}, fold {fold}" for seed in (0, 1) for fold in (0, 1)
    ]
    for one in summary.repeats:
        assert (study.folder / one.run / "report.html").is_file()
    assert sum(one.images for one in summary.repeats if one.study_seed == 1) == 112
    assert not list(study.folder.rglob("real-*.jpg"))


@pytest.mark.slow
def test_study_seeds_divide_anew_what_an_official_test_set_leaves(small_study, tmp_path, plain_runner):
    drawn = tmp_path / "drawn"
    write_phantoms(drawn, PhantomConfig(images=84, balanced=True, width=64, height=64))
    header, *rows = [line.split(",") for line in (drawn / "metadata.csv").read_text().splitlines()]
    patients = sorted({row[header.index("patient_id")] for row in rows})[::3]
    held = [row for row in rows if row[header.index("patient_id")] in patients]
    for name, part in (("HAM10000_metadata.csv", [row for row in rows if row not in held]), ("test.csv", held)):
        (drawn / name).write_text("\n".join(",".join(row) for row in [header, *part]))
    (drawn / "images").rename(drawn / "HAM10000_images_part_1")
    data = f"data={{source: ham10000, folder: {drawn}, test: {{table: test.csv}}}}"
    own = [data, f"output_dir={tmp_path / 'runs'}", "study_seeds=[0, 2]", "arms=[real, oversampled]"]
    study = load_study(small_study[0], [*small_study[1:3], *small_study[5:], *own])
    summary = Summary.read(run_study(study, plain_runner).summary)
    assert [one.images for one in summary.repeats] == [len(held)] * 2
    splits = [set((folder / "train.csv").read_text().splitlines()) for folder in study.folder.glob("split-*")]
    assert len(splits) == 2
    assert splits[0] != splits[1]


@pytest.mark.slow
def test_a_run_reads_divides_checks_makes_and_reports(small_study, tmp_path, plain_runner):
    study = load_study(small_study[0], [*small_study[1:], f"output_dir={tmp_path}", "arms=[real]", "random_split=true"])
    expected = []
    plain_runner.expect = expected.append
    found = run_study(study, plain_runner)
    assert plain_runner.stages == ["read images", "split", "power", "disk", "arm", "random split", "report"]
    assert expected == [3]
    assert found.report.is_file()
