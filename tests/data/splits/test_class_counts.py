import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.splits.class_counts import fill_counts, target_count


def train(tmp_path, **counts):
    ids = [f"{label}-{i}" for label, n in counts.items() for i in range(n)]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": ids}
    labels = [name.split("-")[0] for name in ids]
    return Manifest(pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real"), {"r": tmp_path})


def test_rare_classes_are_filled_up_to_the_median_class(tmp_path):
    images = train(tmp_path, nv=20, mel=9, bkl=7, df=2, vasc=1)
    assert target_count(images) == 7
    assert fill_counts(images, ("df", "vasc")) == {"df": 5, "vasc": 6}


def test_between_two_middle_classes_the_median_is_rounded_down(tmp_path):
    images = train(tmp_path, nv=20, mel=8, bkl=5, df=2)
    assert target_count(images) == 6
    assert fill_counts(images, ("df",)) == {"df": 4}


def test_fill_to_replaces_the_median_and_no_image_is_removed(tmp_path):
    images = train(tmp_path, nv=20, mel=9, df=2)
    assert target_count(images, 8) == 8
    assert fill_counts(images, ("df", "mel"), 8) == {"df": 6, "mel": 0}


def test_the_commonest_class_gets_none_however_many_are_asked_for(tmp_path):
    assert fill_counts(train(tmp_path, nv=20, df=2), ("nv", "df"), 30) == {"nv": 0, "df": 28}


def test_a_class_that_the_train_part_lacks_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"the train part holds no image of 'vasc'; take it out of split\.rare"):
        fill_counts(train(tmp_path, nv=20, df=2), ("df", "vasc"))


@pytest.mark.parametrize(
    ("rare", "filled"),
    [
        (("atypical",), {"atypical": 21}),
        (("common",), {"common": 21}),
        (("atypical", "mel"), {"atypical": 21, "mel": 41}),
    ],
)
def test_of_classes_as_common_as_each_other_the_rare_one_is_filled_whatever_its_name(tmp_path, rare, filled):
    assert fill_counts(train(tmp_path, atypical=39, common=39, mel=19), rare, 60) == filled


def test_where_all_that_are_commonest_are_rare_all_are_filled(tmp_path):
    assert fill_counts(train(tmp_path, a=5, b=5), ("a", "b"), 8) == {"a": 3, "b": 3}
