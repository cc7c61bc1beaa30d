"""The folds of a cross-validation become one study only where each image is tested once, by what has not seen it."""

from itertools import chain

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from data.manifest import read_table
from reports import pool, text
from reports.schema import Summary
from reports.summary import summarise

FOLDS = 3


@pytest.fixture
def runs(make_run):
    return [make_run(name=f"study-{fold}", fold=(fold, FOLDS), skill={"synthetic": 2.0}) for fold in range(FOLDS)]


def truth_and_predictions(run, arm, seed):
    """Truth and the likeliest class of each test image, read by hand."""
    test = read_table(run / "split-0a1b" / "test.csv").set_index("image_id")["label"]
    table = read_table(run / "arm" / f"{arm}-{seed}-44" / "predictions.csv").set_index("image").astype(float)
    return test.tolist(), table.idxmax(axis=1).str.lower().loc[test.index].tolist()


def test_balanced_accuracy_is_that_of_all_out_of_fold_predictions_together(runs, tmp_path):
    pooled = pool.pool(runs, tmp_path)
    for arm in ("real", "synthetic"):
        for seed in (0, 1):
            both = zip(*(truth_and_predictions(run, arm, seed) for run in runs), strict=True)
            truth, predicted = (list(chain.from_iterable(one)) for one in both)
            expected = balanced_accuracy_score(truth, predicted)
            assert pooled.balanced_accuracy[arm].per_seed[str(seed)] == pytest.approx(expected)
    assert pooled.test_images == FOLDS * 152
    assert pooled.test_groups == FOLDS * 76
    assert sum(map(sum, pooled.confusion["real"])) == 2 * pooled.test_images


def test_more_images_are_surer_and_what_varied_is_named(runs, tmp_path):
    pooled, one = pool.pool(runs, tmp_path), summarise(runs[0])
    widths = [d.high - d.low for d in (pooled.differences[0], one.differences[0])]
    assert widths[0] < 0.9 * widths[1]
    varied = pooled.differences[0].varied
    assert varied.startswith("the 228 lesions of the test part")
    assert "the folds, each with few-shot images and generators of its own (" in varied
    assert varied.endswith("not in it: another division into folds")
    assert [fold.balanced_accuracy["real"] for fold in pooled.folds] == [
        summarise(run).balanced_accuracy["real"].mean for run in runs
    ]


def test_the_page_stands_beside_the_runs_with_pictures_of_every_fold(runs, capsys):
    assert pool.main([str(run) for run in reversed(runs)]) == 0
    folder = runs[0].with_name("study-pooled")
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "study study, 3 folds pooled" in page
    assert "Test images by fold and class" in page
    assert "fold 2" in page
    assert "{{" not in page
    summary = Summary.read(folder / "summary.json")
    assert [fold.run for fold in summary.folds] == ["study-0", "study-1", "study-2"]
    assert {path.split("/")[1] for path in summary.gallery["df"]["synthetic"]} == {"study-0", "study-1", "study-2"}
    assert np.mean(list(summary.balanced_accuracy["real"].per_seed.values())) == pytest.approx(
        summary.balanced_accuracy["real"].mean
    )
    assert "lesionloom run study.yaml name=study-$fold split.fold=$fold" in text.command(summary)
    assert text.command(summary).endswith("lesionloom pool runs/study-[0-9]*")


def test_the_command_ends_in_one_line_and_exit_code_2(runs, capsys):
    assert pool.main([str(run) for run in runs[:2]]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not runs[0].with_name("study-pooled").exists()
