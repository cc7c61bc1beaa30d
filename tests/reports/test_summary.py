"""A run folder in, its numbers out; a broken one is named with its fix."""

from __future__ import annotations

import json

import pytest

from data.errors import InputError
from reports.schema import Summary
from reports.summary import summarise


def test_a_run_is_summarised_with_everything_it_holds(make_run):
    summary = summarise(make_run())
    assert (summary.test_images, summary.test_groups) == (152, 76)
    assert list(summary.balanced_accuracy) == ["real", "oversampled", "synthetic"]
    assert list(summary.finetunes) == ["akiec", "df", "vasc"]
    assert summary.training["synthetic"].counts["df"] == {"real": 18, "repeated": 0, "synthetic": 42}
    assert summary.finetunes["df"].images == 42
    assert summary.finetunes["df"].shots == 8
    assert summary.gallery["df"]["synthetic"] == tuple(f"thumbs/df/synthetic-{i}.jpg" for i in range(3))
    assert summary.gallery["nv"]["synthetic"] == ()
    assert summary.split.shared_groups == 0
    assert summary.split.random_split_leaks[-1].label == "all"
    assert summary.split.random_split_leaks[-1].share == 0.39
    rows = {(row.kind, row.name): row for row in summary.split.provenance}
    assert (rows["base", "hub"].is_complete, rows["classifier", "real"].is_complete) == (False, True)
    assert (rows["generator", "df"].train, rows["figures", ""].test) == (8, 76)


def test_a_summary_is_read_back_equal(make_run, tmp_path):
    summary = summarise(make_run(absent=("df",)))
    summary.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json") == summary


def test_the_json_holds_plain_numbers_by_name(make_run, tmp_path):
    summary = summarise(make_run())
    summary.write(tmp_path / "summary.json")
    plain = json.loads((tmp_path / "summary.json").read_text())
    score = summary.balanced_accuracy["real"]
    assert plain["balanced_accuracy"]["real"]["mean"] == score.mean
    assert plain["balanced_accuracy"]["real"]["per_seed"] == {"0": score.per_seed["0"], "1": score.per_seed["1"]}
    assert plain["differences"][0]["first"] == "synthetic"


def test_a_class_without_test_images_is_undefined_and_left_out(make_run):
    summary = summarise(make_run(absent=("df",)))
    recall = summary.per_class_recall["real"]["df"]
    assert (recall.images, recall.mean, recall.low, recall.high) == (0, None, None, None)
    assert summary.without_test_images == ("df",)
    recalls = [r.mean for r in summary.per_class_recall["real"].values() if r.images]
    assert summary.balanced_accuracy["real"].mean == pytest.approx(sum(recalls) / 6)


def test_the_order_of_predictions_does_not_matter(make_run):
    run = make_run()
    before = summarise(run)
    path = next((run / "arm").glob("real-0-*")) / "predictions.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert summarise(run) == before


def test_one_seed_and_other_class_names_will_do(make_run):
    summary = summarise(make_run(classes=("benign", "Malignant"), rare=("Malignant",), seeds=(3,)))
    assert summary.seeds == (3,)
    assert list(summary.balanced_accuracy["real"].per_seed) == ["3"]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("run.json", "run.json: is not there"),
        ("split-0a1b/test.csv", "test.csv: is not there"),
        ("split-0a1b/leakage.json", "leakage.json: is not there"),
        ("provenance.json", "provenance.json: is not there; start the run again to write it anew"),
        ("arm/real-0-44/predictions.csv", "predictions.csv: is not there"),
        ("arm/real-0-44/arm.json", "arm.json: is not there"),
        ("finetune/1-22/adapter.json", "adapter.json: is not there"),
        ("images/1-33/metadata.csv", "metadata.csv: is not there"),
    ],
)
def test_a_missing_file_is_named_with_its_fix(make_run, broken, expected):
    run = make_run()
    (run / broken).unlink()
    with pytest.raises(InputError, match=expected) as caught:
        summarise(run)
    assert "start" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_file_name_reads_nothing_outside_the_run(make_run, tmp_path):
    (tmp_path / "real-0.jpg").write_bytes(b"secret")
    run = make_run(classes=("a", "b"), rare=("a",), thumbs=0)
    text = (run / "run.json").read_text().replace('"classes": ["a", "b"]', '"classes": ["a", "b", "../.."]')
    (run / "run.json").write_text(text)
    for path in run.glob("arm/*/predictions.csv"):
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header + ",../..", *(row + ",0" for row in rows)]) + "\n")
    assert summarise(run).gallery["../.."] == {"real": (), "synthetic": ()}


def test_an_arm_that_this_program_does_not_have_is_refused(make_run):
    with pytest.raises(InputError, match="arm 'mixed'"):
        summarise(make_run(arms=("real", "mixed")))


def test_a_record_of_another_shape_is_refused(make_run):
    run = make_run()
    (run / "split-0a1b/leakage.json").write_text("{}")
    with pytest.raises(InputError, match=r"leakage\.json: test: Field required.*delete its folder"):
        summarise(run)


def test_what_a_random_split_would_have_reported_is_no_arm_and_in_no_comparison(make_run):
    summary = summarise(make_run(random_split=True))
    without = summarise(make_run(name="without"))
    assert summary.random_split.images == 152
    assert summary.random_split.leaked == 60
    assert set(summary.random_split.balanced_accuracy.per_seed) == {"0", "1"}
    assert summary.random_split.balanced_accuracy.low < summary.random_split.balanced_accuracy.mean
    assert without.random_split is None
    assert summary.arms == without.arms
    assert [(d.first, d.second) for d in summary.differences] == [(d.first, d.second) for d in without.differences]
    assert set(summary.balanced_accuracy) == set(without.balanced_accuracy)
