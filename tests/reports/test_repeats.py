"""Runs are pooled only where they are the folds of one study and test each image once."""

import json
import shutil

import pytest
from reports.folds import open_folds

from data.errors import InputError

FOLDS = 3


@pytest.fixture
def runs(make_run):
    return [make_run(name=f"study-{fold}", fold=(fold, FOLDS)) for fold in range(FOLDS)]


def test_folds_are_opened_in_their_order(runs):
    assert [run.path for run in open_folds([runs[2], runs[0], runs[1]])] == runs


def rewrite(run, name, change):
    record = json.loads((run / name).read_text())
    change(record)
    (run / name).write_text(json.dumps(record))


def other_steps(runs):
    rewrite(runs[1], "run.json", lambda record: record["config"]["finetune"].update(steps=7))


def no_folds(runs):
    for run in runs:
        rewrite(run, "run.json", lambda record: record["config"]["split"].update(n_splits=None, fold=0))


def one_missing(runs):
    shutil.rmtree(runs.pop(1))


def one_twice(runs):
    rewrite(runs[2], "run.json", lambda record: record["config"]["split"].update(fold=1))


def edited(run, part, change):
    file = run / "split-0a1b" / f"{part}.csv"
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *change(rows)]) + "\n")


def other_images(runs):
    edited(runs[2], "train", lambda rows: rows[1:])


def tested_twice(runs):
    """Fold 1 tests what fold 0 does."""
    for name in ("split-0a1b", "arm"):
        shutil.rmtree(runs[1] / name)
        shutil.copytree(runs[0] / name, runs[1] / name)


def tested_by_none(runs):
    """Every run trains on an image that none tests."""
    for run in runs:
        edited(run, "train", lambda rows: [*rows, "more,data,images/m.jpg,nv,g-more,more,p-more,real,"])


def group_in_two_folds(runs):
    """The same group's name for images of two folds, in every run alike."""
    for run in runs:
        for part in ("train", "test"):
            edited(run, part, lambda rows: [row.replace("g-fold1-nv-0", "g-fold0-nv-0") for row in rows])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_steps, r"study-1: is of another study: its finetune\.steps is 7, and 200 in .*study-0; run all folds"),
        (no_folds, r"study-0: is no fold of a cross-validation; run each fold with split\.n_splits and split\.fold"),
        (one_missing, r"study-0: fold 1 of 3 is not among these runs; give the run of each fold once"),
        (one_twice, r"study-0: fold 1 of 3 is there 2 times; give the run"),
        (
            other_images,
            r"study-2: divides other images than .*study-0.*, first 'fold0-akiec-0'; run all folds on",
        ),
        (tested_twice, r"image 'fold0-akiec-0' is tested by more than one of these runs"),
        (tested_by_none, r"image 'more' is tested by none of these runs"),
        (group_in_two_folds, r"leakage group 'g-fold0-nv-0' is tested by more than one of these runs"),
    ],
)
def test_runs_that_are_not_the_folds_of_one_study_are_refused_in_one_line(runs, spoil, words):
    spoil(runs)
    with pytest.raises(InputError, match=words) as refused:
        open_folds(runs)
    assert "\n" not in str(refused.value)
