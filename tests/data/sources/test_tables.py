"""What a table gives by itself; how studies read one with its images stands in test_sources.py."""

import pandas as pd
import pytest
from PIL import Image

from data.errors import DataError
from data.sources.tables import Columns, check_rows, find_images, header_of, less, read_rows


@pytest.fixture
def table(tmp_path):
    def written(*lines, name="t.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return written


def faults_of(work):
    """What comes back where all faults are told, and each fault in a line."""
    told = []
    return work(told.append), [str(fault) for fault in told]


def test_rows_are_numbered_as_a_spreadsheet_does_and_keep_their_further_columns(table):
    rows = read_rows(table("image_id,label,lesion_id,age", "a.jpg,nv,L1,50", "b.jpg,mel,,"), [], Columns())
    assert rows.index.tolist() == [2, 3]
    assert rows[["file", "image_id", "label", "group_id", "source"]].to_numpy().tolist() == [
        ["a.jpg", "a", "nv", "lesion L1", "real"],
        ["b.jpg", "b", "mel", "image b", "real"],
    ]
    assert rows["age"].tolist() == ["50", ""]


def test_the_header_is_told_without_blanks_whatever_separates_it(table):
    assert header_of(table("image ; dx;age", "a;nv;5")) == ["image", "dx", "age"]
    assert header_of(table("image\tdx", "a\tnv")) == ["image", "dx"]


def test_a_further_table_adds_its_columns_by_image_whatever_its_order(table):
    first = table("image_id,label", "a,nv", "b,mel")
    further = table("image_id,label,age", "b,zzz,60", "a,zzz,40", name="more.csv")
    rows = read_rows(first, [further], Columns())
    assert rows["age"].tolist() == ["40", "60"]
    assert rows["label"].tolist() == ["nv", "mel"]  # the first table's own


@pytest.mark.parametrize("values", ["0,0", "1,1", "0.5,0.5", "2,-1", ",1", "x,1"])
def test_a_one_hot_row_that_is_not_one_hot_is_a_fault_and_left_out(table, values):
    path = table("image_id,nv,mel", "a,1,0", "b,0.0,1.0", f"c,{values}")
    rows, faults = faults_of(lambda on_fault: read_rows(path, [], Columns(one_hot=("nv", "mel")), on_fault))
    assert rows["label"].to_dict() == {2: "nv", 3: "mel"}
    assert faults == [f"{path}: row 4 has {values.replace(',', ', ')} for nv, mel; one must be 1"]


def rows_of(*rows):
    columns = ["image_id", "label", "lesion_id"]
    return pd.DataFrame(rows, columns=columns, index=range(2, len(rows) + 2))


def test_every_fault_of_rows_is_told_and_the_usable_ones_come_back(tmp_path):
    rows = rows_of(
        ["a", "nv", "L1"], ["a", "mel", ""], ["b", "", ""], ["", "nv", ""], ["c", "NV", "L2"], ["d", "mel", "L2"]
    )
    left, faults = faults_of(lambda on_fault: check_rows(tmp_path, rows, on_fault))
    assert left["image_id"].tolist() == ["a", "c", "d"]
    assert [fault.removeprefix(f"{tmp_path}: ") for fault in faults] == [
        "row 5 has no image_id; fill it in or remove the row",
        "row 4 has no label; fill it in or remove the row",
        "rows 2 and 3 both are image 'a' as 'nv' and 'mel'; remove one",
        "the labels NV and nv differ in case alone; `rename` one",
        "lesion 'L2' is 'NV' in row 6 and 'mel' in row 7; give it one label, or each its own lesion",
    ]


def test_the_first_fault_of_rows_is_raised_where_nothing_takes_it(tmp_path):
    with pytest.raises(DataError, match="rows 2 and 3 both are image 'a'; remove one"):
        check_rows(tmp_path, rows_of(["a", "nv", ""], ["a", "nv", ""]))


def test_rows_are_left_out_by_name_and_an_unknown_name_is_a_fault():
    rows = rows_of(["a", "nv", ""], ["b", "nv", ""])
    left, faults = faults_of(lambda on_fault: less("data", rows, ["b", "c"], on_fault))
    assert left["image_id"].tolist() == ["a"]
    assert faults == ["data: has no image 'c'; take it out of `leave_out`"]


def test_images_are_found_by_row_and_what_is_missing_unclear_or_taken_twice_is_told(tmp_path):
    for n, name in enumerate(("one/a.png", "one/b.png", "two/b.png", "two/c.png", "other/d.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (n, n, n)).save(tmp_path / name)
    files = ["a", "b", "c.png", "two/c.png", "d", "two\\b.png"]
    rows = pd.DataFrame({"file": files}, index=range(2, 8))
    told = tmp_path / "t.csv"
    paths, faults = faults_of(lambda on_fault: find_images(told, rows, tmp_path, ["one", "two"], on_fault))
    assert paths.to_dict() == {2: "one/a.png", 4: "two/c.png", 7: "two/b.png"}
    assert [fault.removeprefix(f"{told}: ") for fault in faults] == [
        "row 3: 'b' may be one/b.png or two/b.png; write its path",
        f"row 6: no image 'd' below {tmp_path}; add it or remove the row",
        "rows 4 and 5 mean the same file two/c.png; remove one",
    ]
