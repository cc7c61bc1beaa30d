import pandas as pd
import pytest
from PIL import Image

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.sources.row_checks import check_labels, check_rows, exclude_images, find_images, unused_images


def faults_of(work):
    """What comes back if faults are collected, and the faults' messages."""
    faults = []
    return work(faults.append), [str(fault) for fault in faults]


def rows_of(*rows):
    columns = ["image_id", "label", "lesion_id"]
    return pd.DataFrame(rows, columns=columns, index=range(2, len(rows) + 2))


def test_every_fault_of_rows_is_reported_and_the_usable_ones_come_back(tmp_path):
    rows = rows_of(
        ["a", "nv", "L1"], ["a", "mel", ""], ["b", "", ""], ["", "nv", ""], ["c", "NV", "L2"], ["d", "mel", "L2"]
    )
    left, faults = faults_of(lambda on_fault: check_rows(tmp_path, rows, on_fault))
    assert left["image_id"].tolist() == ["a", "c", "d"]
    assert [fault.removeprefix(f"{tmp_path}: ") for fault in faults] == [
        "row 5 has no image_id; fill it in or remove the row",
        "row 4 has no label; fill it in or remove the row",
        "rows 2 and 3 both are image 'a' as 'nv' and 'mel'; remove one",
        "the labels NV and nv differ in case alone; give both one name in `label_map`",
        "lesion 'L2' is 'NV' in row 6 and 'mel' in row 7; give it one label, or each its own lesion",
    ]


def test_the_first_fault_of_rows_is_raised_where_nothing_takes_it(tmp_path):
    with pytest.raises(DataError, match="rows 2 and 3 both are image 'a'; remove one"):
        check_rows(tmp_path, rows_of(["a", "nv", ""], ["a", "nv", ""]))


def test_rows_are_left_out_by_name_and_an_unknown_name_is_a_fault():
    rows = rows_of(["a", "nv", ""], ["b", "nv", ""])
    left, faults = faults_of(lambda on_fault: exclude_images("data", rows, ["b", "c"], on_fault))
    assert left["image_id"].tolist() == ["a"]
    assert faults == ["data: has no image 'c'; take it out of `exclude_ids`"]


def test_images_are_found_by_row_and_what_is_missing_unclear_or_taken_twice_is_reported(tmp_path):
    for n, name in enumerate(("one/a.png", "one/b.png", "two/b.png", "two/c.png", "other/d.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (n, n, n)).save(tmp_path / name)
    files = ["a", "b", "c.png", "two/c.png", "d", "two\\b.png"]
    rows = pd.DataFrame({"file": files}, index=range(2, 8))
    path = tmp_path / "t.csv"
    paths, faults = faults_of(lambda on_fault: find_images(path, rows, tmp_path, ["one", "two"], on_fault))
    assert paths.to_dict() == {2: "one/a.png", 4: "two/c.png", 7: "two/b.png"}
    assert [fault.removeprefix(f"{path}: ") for fault in faults] == [
        "row 3: 'b' may be one/b.png or two/b.png; write its path",
        f"row 6: no image 'd' below {tmp_path}; add it or remove the row",
        "rows 4 and 5 mean the same file two/c.png; remove one",
    ]


def test_images_without_a_row_are_listed_by_folder(tmp_path):
    for name in ("a.png", "deep/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ["a"], "path": ["a.png"], "label": "nv", "group_id": "a"}
    table = pd.DataFrame({**columns, "root": "r", "source": "real"})
    assert unused_images(Manifest(table, {"r": tmp_path})) == {tmp_path: ["c.png", "deep/b.png"]}
    assert unused_images(Manifest(table, {"r": tmp_path / "deep"})) == {tmp_path / "deep": ["b.png"]}


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("image", "is the name of a column of every table of predictions"),
        ("a\0b", "holds '\\x00', which a folder's name cannot have"),
        ("a\u200bb", "holds '\\u200b'"),
        ("a/b", "holds '/'"),
        ("Effusion|Mass", "holds '|'"),
        ("..", "begins or ends with a dot"),
        ("ä" * 51, "has more than 100 bytes"),
    ],
)
def test_a_label_that_no_folder_or_column_can_have_is_refused_before_anything_is_made(label, why):
    rows = pd.DataFrame({"label": [label, "melanoma in situ", "no", "ä" * 50]})
    with pytest.raises(DataError, match="give it another name in `label_map`") as refused:
        check_labels("table.csv", rows)
    assert why in str(refused.value)
    faults = []
    assert check_labels("table.csv", rows, faults.append)["label"].tolist() == ["melanoma in situ", "no", "ä" * 50]
    assert len(faults) == 1
