"""Runs are pooled only where they are the repeats of one study; folds of one seed test each image once."""

import json
import shutil

import pytest

from data.errors import InputError
from reports.repeats import by_draw, open_repeats, shared_config, titles

FOLDS = 3


@pytest.fixture
def runs(make_run):
    return [make_run(name=f"study-{fold}", fold=(fold, FOLDS)) for fold in range(FOLDS)]


def test_folds_are_opened_in_their_order(runs):
    opened = open_repeats([runs[2], runs[0], runs[1]])
    assert [one.run.path for one in opened] == runs
    assert titles(opened) == ["fold 0", "fold 1", "fold 2"]
    assert shared_config(opened, "whole")["split"]["fold"] is None


def test_repeats_are_ordered_by_study_seed_then_generator_seed_then_fold_and_named_by_what_differs(make_run):
    runs = [
        make_run(name=f"{seed}-{generator}-{fold}", study_seed=(seed, generator), fold=(fold, 2))
        for seed in (3, 10) for generator in (5, 6) for fold in (0, 1)
    ]  # fmt: skip
    opened = open_repeats(runs[::-1])
    assert [one.run.path for one in opened] == runs
    assert titles(opened)[1] == "study seed 3, generator seed 5, fold 1"
    assert len(set(titles(opened))) == 8
    assert [[one.fold for one in draw] for draw in by_draw(opened)] == [[0, 1]] * 4
    config = shared_config(opened, "whole")
    assert (config["name"], config["study_seeds"], config["generator_seeds"]) == ("whole", [3, 10], [5, 6])
    assert (config["split"]["n_splits"], config["split"]["fold"]) == (2, None)
    assert "is_repeat" not in config


def test_one_fold_of_several_study_seeds_is_let_through(make_run):
    opened = open_repeats([make_run(name=f"a{seed}", study_seed=(seed,), fold=(1, 3)) for seed in (0, 1)])
    assert titles(opened) == ["study seed 0", "study seed 1"]
    assert shared_config(opened, "a")["split"]["fold"] == 1
    assert shared_config(opened, "a")["generator_seeds"] == []


def test_a_grid_of_seeds_with_a_gap_is_refused(make_run):
    runs = [make_run(name=f"a{n}", study_seed=pair) for n, pair in enumerate([(0, 5), (0, 6), (1, 5)])]
    with pytest.raises(InputError, match="study seed 1 lacks the generator seed 6, which another one has"):
        open_repeats(runs)


def test_one_run_is_nothing_to_pool(make_run):
    with pytest.raises(InputError, match="is one run; give the runs of every fold, or of several study seeds"):
        open_repeats([make_run()])


def rewrite(run, name, change):
    record = json.loads((run / name).read_text())
    change(record)
    (run / name).write_text(json.dumps(record))


def other_steps(runs):
    rewrite(runs[1], "run.json", lambda record: record["config"]["finetune"].update(steps=7))


def no_folds(runs):
    for run in runs:
        rewrite(run, "run.json", lambda record: record["config"]["split"].update(n_splits=None, fold=None))


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
        (other_steps, r"study-1: is of another study: its finetune\.steps is 7, and 200 in .*study-0; run all repeats"),
        (no_folds, r"study-0: study seed 0 with generator seed 0 is there 3 times; give the run of each once"),
        (one_missing, r"study-0: fold 1 of 3 is not among these runs; give the run of each fold once"),
        (one_twice, r"study-0: fold 1 of 3 is there 2 times; give the run"),
        (
            other_images,
            r"study-2: divides other images than .*study-0.*, first 'fold0-akiec-0'; run all repeats on",
        ),
        (tested_twice, r"image 'fold0-akiec-0' is tested by more than one of these runs"),
        (tested_by_none, r"image 'more' is tested by none of these runs"),
        (group_in_two_folds, r"leakage group 'g-fold0-nv-0' is tested by more than one of these runs"),
    ],
)
def test_runs_that_are_not_the_repeats_of_one_study_are_refused_in_one_line(runs, spoil, words):
    spoil(runs)
    with pytest.raises(InputError, match=words) as refused:
        open_repeats(runs)
    assert "\n" not in str(refused.value)
