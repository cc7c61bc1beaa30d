import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.splits.random_split import RandomSplit, random_split
from data.splits.split import Split


def part(name, tmp_path, counts, images_a_group=2):
    rows = [(label, i) for label, n in counts.items() for i in range(n)]
    ids = [f"{name}-{label}-{i}" for label, i in rows]
    groups = [f"{name}-{label}-{i // images_a_group}" for label, i in rows]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": groups}
    labels = [label for label, _ in rows]
    return Manifest(pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real"), {"r": tmp_path})


@pytest.fixture
def split(tmp_path):
    counts = {"train": {"nv": 30, "df": 8}, "validation": {"nv": 10, "df": 4}, "test": {"nv": 16, "df": 6}}
    return Split(*(part(name, tmp_path, by_class) for name, by_class in counts.items()))


def test_the_same_images_are_dealt_out_anew_as_many_of_each_class_in_each_part(split):
    divided = random_split(split, seed=0)
    dealt = (divided.train, divided.validation, divided.test)
    assert [p.counts() for p in dealt] == [p.counts() for p in split.parts().values()]
    ids = [image for p in dealt for image in p.table["image_id"]]
    assert sorted(ids) == sorted(image for p in split.parts().values() for image in p.table["image_id"])
    assert random_split(split, seed=0).test.digest() == divided.test.digest()
    assert random_split(split, seed=1).test.digest() != divided.test.digest()


def test_it_leaks_and_counts_what_leaks(split, tmp_path):
    divided = random_split(split, seed=0)
    trained = set(divided.train.table["group_id"])
    leaked = [group for group in divided.test.table["group_id"] if group in trained]
    assert divided.leaked == len(leaked) > 5
    alone = Split(*(part(name, tmp_path, {"nv": 9, "df": 5}, images_a_group=1) for name in "abc"))
    assert random_split(alone, seed=0).leaked == 0


def test_no_split_can_be_built_of_its_parts_and_it_cannot_be_taken_for_one(split):
    divided = random_split(split, seed=0)
    with pytest.raises(DataError, match="leakage groups are in both train and"):
        Split(divided.train, divided.validation, divided.test)
    assert not isinstance(divided, Split)
    assert not {"parts", "refuse_seen"} & set(dir(RandomSplit))
