"""The repeats of a study become one report; of folds every image is tested once, by what has not seen it."""

import json
import re
from dataclasses import MISSING, fields, replace
from itertools import chain

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from augment.methods.record import AdapterRecord, Stopped
from data.manifest import read_table
from reports import checklist, pooled
from reports.cards import cards
from reports.images_tested import images_tested
from reports.pool import main
from reports.pooled import pool
from reports.render import write_report
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
    whole = pool(runs, tmp_path)
    for arm in ("real", "synthetic"):
        for seed in (0, 1):
            both = zip(*(truth_and_predictions(run, arm, seed) for run in runs), strict=True)
            truth, predicted = (list(chain.from_iterable(one)) for one in both)
            expected = balanced_accuracy_score(truth, predicted)
            assert whole.balanced_accuracy[arm].per_seed[str(seed)] == pytest.approx(expected)
    assert whole.test_images == FOLDS * 152
    assert whole.test_groups == FOLDS * 76
    assert sum(map(sum, whole.confusion["real"])) == 2 * whole.test_images


def test_more_images_are_surer_and_what_varied_is_named(runs, tmp_path):
    whole, one = pool(runs, tmp_path), summarise(runs[0])
    widths = [d.high - d.low for d in (whole.differences[0], one.differences[0])]
    assert widths[0] < 0.9 * widths[1]
    varied = whole.differences[0].varied
    assert varied.startswith("the 228 lesions of the test part")
    assert "the folds, each with few-shot images and generators of its own (" in varied
    assert varied.endswith("not in it: another division into folds")
    assert [one.balanced_accuracy["real"] for one in whole.repeats] == [
        summarise(run).balanced_accuracy["real"].mean for run in runs
    ]


def test_the_page_stands_beside_the_runs_with_pictures_of_every_fold(runs, capsys):
    assert main([str(run) for run in reversed(runs)]) == 0
    folder = runs[0].with_name("study-pooled")
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "study study, 3 repeats" in page
    assert "Test images by repeat and class" in page
    assert "fold 2" in page
    assert "{{" not in page
    summary = Summary.read(folder / "summary.json")
    assert [one.run for one in summary.repeats] == ["../study-0", "../study-1", "../study-2"]
    assert {path.split("/")[1] for path in summary.gallery["df"]["synthetic"]} == {"study-0", "study-1", "study-2"}
    assert np.mean(list(summary.balanced_accuracy["real"].per_seed.values())) == pytest.approx(
        summary.balanced_accuracy["real"].mean
    )
    assert "<code>lesionloom run study.yaml</code>" in page
    assert (summary.config["name"], summary.config["split"]["fold"]) == ("study", None)


def test_the_command_ends_in_one_line_and_exit_code_2(runs, capsys):
    assert main([str(run) for run in runs[:2]]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not runs[0].with_name("study-pooled").exists()


def test_the_report_of_a_study_is_that_of_its_repeats_wherever_its_folder_lies(make_study, tmp_path):
    study = make_study(seeds=[(0,), (4,)])
    moved = study.rename(tmp_path / "moved")
    page = write_report(moved).read_text(encoding="utf-8")
    assert "study study, 2 repeats" in page
    assert "Study seeds 0 and 4 determine the split, the few-shot images" in page
    summary = Summary.read(moved / "summary.json")
    assert [(one.name, one.run) for one in summary.repeats] == [
        ("study seed 0", "repeats/seed-0"),
        ("study seed 4", "repeats/seed-4"),
    ]
    assert summary.config["study_seeds"] == [0, 4]
    for one in summary.repeats:
        alone = summarise(moved / one.run)
        assert alone.study_seeds == (one.study_seed,)
        assert one.balanced_accuracy["real"] == alone.balanced_accuracy["real"].mean


def test_test_images_of_study_seeds_are_counted_by_seed(make_study):
    study = make_study(seeds=[(0,), (4,)])
    summary = pool([study / "repeats" / "seed-0", study / "repeats" / "seed-4"], study)
    assert re.fullmatch(r"[\d,]+ test images a study seed, in [\d,]+ leakage groups in all", images_tested(summary))
    assert any(images_tested(summary, "image") in (item.answer or "") for item in checklist.claim(summary))
    assert images_tested(summary, "image") in cards(summary)["model-card.md"]


def test_test_images_of_generator_seeds_are_the_same_and_counted_once(make_study):
    study = make_study(seeds=[(0, 1), (0, 2)])
    names = ("seed-0-generator-1", "seed-0-generator-2")
    summary = pool([study / "repeats" / name for name in names], study)
    assert re.fullmatch(r"[\d,]+ test images in [\d,]+ leakage groups", images_tested(summary))


def test_an_artefact_that_repeats_share_costs_its_time_once(make_study):
    study = make_study(seeds=[(0, 1), (0, 2)])
    for repeat in ("seed-0-generator-1", "seed-0-generator-2"):
        path = study / "repeats" / repeat / "run.json"
        record = json.loads(path.read_text())
        for timing in record["timings"]:
            own = "" if timing["stage"] == "split" or timing["what"].startswith("real") else repeat
            timing["folder"] = f"{timing['stage']}/{timing['what']}{own}"
        path.write_text(json.dumps(record))
    timings = pool([study / "repeats" / name for name in ("seed-0-generator-1", "seed-0-generator-2")], study).timings
    assert sum(timing.stage == "split" for timing in timings) == 1
    assert sum(timing.what.startswith("real") for timing in timings) == 2  # one a classifier seed
    assert sum(timing.what.startswith("synthetic") for timing in timings) == 4
    assert {timing.what.partition(", ")[2] for timing in timings if timing.stage == "images"} == {
        "generator seed 1", "generator seed 2"
    }  # fmt: skip


def test_a_study_s_folder_stands_for_its_repeats_on_the_command_line(make_study, tmp_path):
    study = make_study(seeds=[(0,), (4,)])
    assert main([str(study), "--out", str(tmp_path / "out")]) == 0
    assert len(Summary.read(tmp_path / "out" / "summary.json").repeats) == 2


def test_nothing_of_the_first_repeat_stands_for_all_unless_it_is_pooled(runs, tmp_path):
    optional = {field.name for field in fields(Summary) if field.default is not MISSING}
    assert pooled._defaults().keys() >= optional - {"repeats"}
    whole = pool(runs, tmp_path)
    assert whole.finetunes == {}
    assert whole.split.provenance == ()


def test_the_report_of_all_repeats_names_the_fine_tunes_that_were_stopped_in_each(runs, tmp_path):
    for folder in runs[1].glob("finetune/*"):
        record = AdapterRecord.read(folder)
        if record.label == "df":
            replace(record, stopped=Stopped(step=200, of=400)).write(folder)
    (stopped,) = pool(runs, tmp_path).stopped
    assert stopped.endswith(": df stopped by request at step 200 of 400")
