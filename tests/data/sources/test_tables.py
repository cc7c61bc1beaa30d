"""Rows of a table by itself; how studies read one with its images is tested in test_load.py."""

import pytest

from data.config import parse
from data.errors import ConfigError
from data.sources.tables import Columns, header_of, read_rows


@pytest.fixture
def table(tmp_path):
    def written(*lines, name="t.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return written


def faults_of(work):
    """What comes back if faults are collected, and the faults' messages."""
    faults = []
    return work(faults.append), [str(fault) for fault in faults]


def test_rows_are_numbered_as_a_spreadsheet_does_and_keep_their_other_columns(table):
    rows = read_rows(table("image_id,label,lesion_id,age", "a.jpg,nv,L1,50", "b.jpg,mel,,"), [], Columns())
    assert rows.index.tolist() == [2, 3]
    assert rows[["file", "image_id", "label", "group_id", "source"]].to_numpy().tolist() == [
        ["a.jpg", "a", "nv", "lesion L1", "real"],
        ["b.jpg", "b", "mel", "image b", "real"],
    ]
    assert rows["age"].tolist() == ["50", ""]


def test_a_header_is_read_without_blanks_whatever_separates_it(table):
    assert header_of(table("image ; dx;age", "a;nv;5")) == ["image", "dx", "age"]
    assert header_of(table("image\tdx", "a\tnv")) == ["image", "dx"]


def test_an_extra_table_adds_its_columns_by_image_whatever_its_order(table):
    first = table("image_id,label", "a,nv", "b,mel")
    extra = table("image_id,label,age", "b,zzz,60", "a,zzz,40", name="more.csv")
    rows = read_rows(first, [extra], Columns())
    assert rows["age"].tolist() == ["40", "60"]
    assert rows["label"].tolist() == ["nv", "mel"]  # the first table's own


@pytest.mark.parametrize("values", ["0,0", "1,1", "0.5,0.5", "2,-1", ",1", "x,1"])
def test_a_one_hot_row_that_is_not_one_hot_is_a_fault_and_left_out(table, values):
    path = table("image_id,nv,mel", "a,1,0", "b,0.0,1.0", f"c,{values}")
    rows, faults = faults_of(lambda on_fault: read_rows(path, [], Columns(one_hot=("nv", "mel")), on_fault))
    assert rows["label"].to_dict() == {2: "nv", 3: "mel"}
    assert faults == [f"{path}: row 4 has {values.replace(',', ', ')} for nv, mel; one must be 1"]


@pytest.mark.parametrize("columns", [{"label": []}, {"label": ""}, {"lesion": ""}, {"one_hot": [""]}, {"image": ""}])
def test_a_column_without_a_name_is_refused_with_the_config(columns):
    with pytest.raises(ConfigError, match=r"study.yaml: (label|lesion|one_hot\.0|image): .*(at least 1|valid string)"):
        parse(Columns, columns, "study.yaml")


@pytest.mark.parametrize("kind", ["patient", "group"])
def test_a_group_column_of_one_value_is_named_and_counts_as_unknown(table, kind):
    path = table("image_id,label,who", "a,nv,P1", "b,mel,P1", "c,mel,P1")
    rows, faults = faults_of(lambda on_fault: read_rows(path, [], Columns(**{kind: "who"}), on_fault))
    assert len(faults) == 1
    assert f"the column 'who' holds 'P1' in every row, so that all images are of one {kind}" in faults[0]
    assert f"name the right column in `columns.{kind}`, or rename or remove this one" in faults[0]
    assert rows["group_id"].tolist() == ["image a", "image b", "image c"]


@pytest.mark.parametrize("unknown", ["NA", "unknown", "n/a", "NaN", "-"])
def test_a_patient_who_is_not_known_joins_no_images(table, unknown):
    path = table("image_id,label,patient_id", f"a,nv,{unknown}", f"b,mel,{unknown}", "c,mel,P1")
    assert read_rows(path, [], Columns())["group_id"].tolist() == ["image a", "image b", "patient P1"]
