"""No cell or header of a table is a formula to a spreadsheet, and this program reads back what it wrote."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.manifest import COLUMNS, Manifest, read_table
from data.spreadsheet import csv_text, neutral, plain, plain_table

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1|x", "-2+3", "@SUM(1)", "\t=1", "'=1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_gets_a_mark_before_it(cell):
    assert neutral(cell) == "'" + cell
    assert plain(neutral(cell)) == cell


@pytest.mark.parametrize("cell", ["nv", "", "0.5", "-0.5", "+1e-3", "-inf", "a=b", "'quoted'", "x-1"])
def test_all_other_text_and_numbers_stay(cell):
    assert neutral(cell) == cell == plain(cell)


@given(st.text())
def test_what_is_taken_off_is_the_mark_alone(cell):
    assert plain(neutral(cell)) == cell


def test_headers_and_cells_of_a_table_come_back(tmp_path):
    table = pd.DataFrame({"image": FORMULAS, "=label": [-0.25] * len(FORMULAS), "kept": ["yes"] * len(FORMULAS)})
    text = csv_text(table)
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["image", "'=label", "kept"]
    assert [row[0][0] for row in rows] == ["'"] * len(FORMULAS)
    assert [row[1] for row in rows] == ["-0.25"] * len(FORMULAS)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    found = read_table(tmp_path / "t.csv")
    assert list(found.columns) == list(table.columns)
    assert list(found["image"]) == FORMULAS


def test_a_table_without_formulas_is_written_as_before():
    table = pd.DataFrame({"image": ["a", "b,c"], "nv": [0.5, 1e-9], "n": [1, 2]})
    assert csv_text(table) == table.to_csv(index=False, lineterminator="\n")
    assert plain_table(table.astype(str)).equals(table.astype(str))


def test_a_manifest_of_formulas_is_read_as_it_was(tmp_path):
    columns = dict.fromkeys(COLUMNS, "")
    columns |= {"image_id": ["=1+1", "-x"], "path": "a.png", "label": ["@nv", "mel"], "group_id": "g", "root": "r"}
    manifest = Manifest(pd.DataFrame(columns, dtype=str).assign(source="real"), {"r": tmp_path})
    manifest.write(tmp_path / "m.csv")
    assert "'=1+1" in (tmp_path / "m.csv").read_text(encoding="utf-8")
    assert Manifest.read(tmp_path / "m.csv", {"r": tmp_path}).digest() == manifest.digest()
