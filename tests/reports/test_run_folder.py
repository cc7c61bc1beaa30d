"""Reading a run folder: nothing outside it, nothing guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from classify.record import ArmRecord
from data.errors import InputError
from reports.run_folder import RunFolder, repeats_of


def _opened(run):
    return RunFolder.open(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has not ended"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"), [("{", "is not readable as JSON"), ("[]", "lacks"), ("{}", "lacks name")]
)
def test_a_broken_record_is_refused(tmp_path, text, expected):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=expected):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("place", ["/etc", "../other", "arm/../../other"])
def test_an_artifact_outside_the_run_is_refused(make_run, place):
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    record["artifacts"]["split"] = place
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="must lie within the run"):
        _opened(run).artifact("split")


def test_an_artifact_that_the_record_lacks_is_named(make_run):
    with pytest.raises(InputError, match="no folder for arm real 7"):
        _opened(make_run()).artifact("arm", "real", "7")


def test_probabilities_come_in_the_asked_order_of_images_and_classes(make_run):
    run = _opened(make_run())
    found = run.probabilities("real", "0", _test_images(run), ("nv", "df", "akiec", "bcc", "bkl", "mel", "vasc"))
    again = run.probabilities("real", "0", _test_images(run)[::-1], ("df", "nv", "akiec", "bcc", "bkl", "mel", "vasc"))
    np.testing.assert_array_equal(found[:, 0], again[::-1, 1])
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_labels_that_differ_by_case_alone_keep_their_own_columns(make_run):
    run = _opened(make_run(classes=("A", "a"), rare=("a",), arms=("real",)))
    both = run.probabilities("real", "0", _test_images(run), ("A", "a"))
    assert not np.allclose(both[:, 0], both[:, 1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[:-1], "no row for test image"),
        (lambda rows: [*rows, rows[1].replace("test-", "other-")], "153 rows for 152 images"),
        (lambda rows: [rows[0], *(row.replace("0.", "x", 1) for row in rows[1:])], "is no number"),
        (lambda rows: [rows[0], ",".join([rows[1].split(",")[0], *["nan"] * 7]), *rows[2:]], "is not finite"),
        (lambda rows: [rows[0].replace("NV", "XX"), *rows[1:]], "no column for the class 'nv'"),
    ],
)
def test_broken_predictions_are_refused(make_run, change, expected):
    path = make_run()
    run = _opened(path)
    file = path / "arm/real-0-44/predictions.csv"
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    with pytest.raises(InputError, match=expected):
        run.probabilities("real", "0", _test_images(run), run.record["classes"])


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_record_that_its_class_cannot_read_is_named(make_run, text):
    path = make_run()
    (path / "arm/real-0-44/arm.json").write_text(text)
    with pytest.raises(InputError, match=r"arm\.json: is no record that can be read .*; delete its folder"):
        _opened(path).record_of(path / "arm/real-0-44", "arm.json", ArmRecord.read)


def test_pictures_come_in_counting_order_and_nothing_else_with_them(make_run):
    path = make_run(thumbs=12)
    (path / "thumbs/df/real-notes.txt").write_text("no picture")
    names = _opened(path).pictures(path / "thumbs/df", "real-*")
    assert names == tuple(f"thumbs/df/real-{i}.jpg" for i in range(12))


def _test_images(run):
    return list(run.table(run.artifact("split"), "test.csv", ["image_id"])["image_id"])


def test_a_repeat_s_artefacts_lie_in_the_study_s_folder_and_its_records_in_its_own(make_study, tmp_path, monkeypatch):
    study = make_study(seeds=[(0,), (1,)])
    moved = study.rename(tmp_path / "moved")
    monkeypatch.chdir(moved / "repeats" / "seed-1")
    run = RunFolder.open(Path())
    assert run.artifact("split") == moved / "of-1" / "split-0a1b"
    assert run.pictures(run.artifact("finetune", "df") / "previews")[0].startswith("../../of-1/finetune/")
    assert run.pictures(run.path / "thumbs" / "df", "real-*")[0] == "thumbs/df/real-0.jpg"


def test_a_study_of_several_repeats_is_no_run_and_names_one(make_study):
    study = make_study(seeds=[(0,), (1,)])
    assert repeats_of(study) == (study / "repeats" / "seed-0", study / "repeats" / "seed-1")
    with pytest.raises(InputError, match=r"give the folder of one, e\.g\. .*study/repeats/seed-0"):
        RunFolder.open(study)
    assert repeats_of(study / "repeats" / "seed-0") == ()


def test_a_repeat_outside_its_study_is_refused(make_study, tmp_path):
    study = make_study(seeds=[(0,), (1,)])
    (study / "repeats" / "seed-1").rename(tmp_path / "alone")
    with pytest.raises(InputError, match="is a repeat of a study; it must lie within the study, in its folder repeats"):
        RunFolder.open(tmp_path / "alone")
    record = json.loads((study / "run.json").read_text())
    (study / "run.json").write_text(json.dumps(record | {"repeats": ["repeats/seed-0", "../alone"]}))
    with pytest.raises(InputError, match=r"names the repeat '\.\./alone'; it must lie within the run"):
        repeats_of(study)
