"""The oracle's recall before and after fine-tuning, on a study of seconds."""

import pytest
import recognise

from classify.metrics import wilson
from data.store import read_json
from flows.study import load_study


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_each_rare_class_is_generated_before_and_after_fine_tuning(study, capsys, method):
    overrides = [*study, "split.rare=[df, vasc]", "generate.steps=2"]
    if method == "dreambooth":
        overrides.append("finetune.num_class_images=2")
    assert recognise.main(["--method", method, "--images", "4", *overrides]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == [(f"| {method}", "df"), (f"| {method}", "vasc")]
    folder = load_study(recognise.STUDIES[method], overrides).folder
    results = read_json(folder / "recognise" / f"{method}.json")["classes"]
    assert {result[name]["n"] for result in results for name in ("real", "before", "after")} == {4}
    for stage in ("recognise", "images"):
        assert len(list((folder / stage).glob("*/images/df-*.jpg"))) == 4


def test_the_table_has_a_row_a_class_and_says_whether_the_aim_is_reached():
    reached = recognise.ClassResult(label="df", real=wilson(9, 10), before=wilson(1, 10), after=wilson(8, 10))
    missed = recognise.ClassResult(label="vasc", real=wilson(9, 10), before=wilson(1, 10), after=wilson(3, 10))
    lines = recognise.table("lora", [reached, missed]).splitlines()
    assert lines[2].startswith("| lora | df | 9/10 = 0.90 [")
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["yes", "no"]


def test_a_study_of_photographs_is_refused_in_one_line(capsys):
    table = "data={source: table, folder: /nowhere, table: t.csv, columns: {label: dx}}"
    assert recognise.main(["--method", "lora", table]) == 2
    assert capsys.readouterr().err == ("error: the oracle knows phantoms alone, not table; give a study of phantoms\n")
