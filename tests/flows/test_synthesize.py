"""Synthetic images of a generator that has seen the test part reach no classifier."""

import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.splits import Split
from data.store import write_json
from flows.steps import Step
from flows.synthesize import refuse_leaks


def part(group, folder):
    row = {
        **dict.fromkeys(COLUMNS, ""),
        "image_id": group,
        "root": "data",
        "path": group,
        "label": "df",
        "group_id": group,
    }
    return Manifest(pd.DataFrame([{**row, "source": "real"}], dtype=str), {"data": folder})


def drawn_by_one_that_saw(group, folder):
    step = Step(stage="images", what="df", folder=folder / "df", inputs={}, make=lambda *_: None)
    write_json(step.target / "generation.json", {"seen": {"image_ids": [], "group_ids": [group]}})
    return {"df": step}


def test_a_generator_that_saw_the_test_part_is_refused(tmp_path):
    split = Split(part("a", tmp_path), part("b", tmp_path), part("c", tmp_path))
    refuse_leaks(split, drawn_by_one_that_saw("a", tmp_path / "good"))
    with pytest.raises(DataError, match=r"generator of .* has seen 1 leakage groups of the test part, first \['c'\]"):
        refuse_leaks(split, drawn_by_one_that_saw("c", tmp_path / "bad"))
