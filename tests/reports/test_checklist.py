import csv
import re

import pytest

from reports import checklist
from reports.summary import summarise


def test_the_checklists_have_the_items_that_were_published():
    for name, number, parts in (("claim-2024", 44, 44), ("tripod-ai-2024", 27, 52)):
        with (checklist._FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            items = list(csv.DictReader(file))
        assert len(items) == parts
        assert [int(n) for n in dict.fromkeys(re.match(r"\d+", row["item"])[0] for row in items)] == [
            *range(1, number + 1)
        ]
        assert all(row["topic"] and row["text"] for row in items)


@pytest.mark.parametrize("answers", [checklist._CLAIM, checklist._TRIPOD])
def test_every_answer_is_of_an_item_that_there_is(answers):
    name = "claim-2024" if answers is checklist._CLAIM else "tripod-ai-2024"
    with (checklist._FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        assert set(answers) < {row["item"] for row in csv.DictReader(file)}


def test_what_a_run_knows_is_filled_and_what_it_cannot_know_is_not(make_run):
    summary = summarise(make_run())
    claim, tripod = ({item.number: item.answer for item in of(summary)} for of in (checklist.claim, checklist.tripod))
    assert "152 images" in claim["21"]
    assert "76 leakage groups" in claim["21"]
    assert "torch 2.15.0" in claim["23"]
    real = summary.balanced_accuracy["real"]
    assert f"real {real.mean:.3f} [{real.low:.3f}, {real.high:.3f}]" in claim["37"]
    assert "df 8 images" in claim["10"]
    assert "nothing here is about patients" in claim["40"]
    assert "df 18" in tripod["20c"]
    assert claim["44"] == claim["13"] == tripod["17"] == tripod["18a"] == ""  # funding, acquisition, ethics


def test_a_run_of_one_arm_without_a_generator_is_answered_too(make_run):
    summary = summarise(make_run(arms=("real",), seeds=(3,), source="isic"))
    answers = [item.answer for item in (*checklist.claim(summary), *checklist.tripod(summary))]
    assert "diffusion" not in answers[0]
    assert "one arm alone" in answers[3]
    assert not any("drawings" in answer for answer in answers)
