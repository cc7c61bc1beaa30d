"""What a random split leaks, and the record of a split's leakage groups on disk."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import ConfigError
from data.manifest import COLUMNS, Manifest
from data.sources.load import DataConfig, load_manifest
from data.splits.duplicates import Links
from data.splits.leakage import (
    LeakageRecord,
    expected_leakage,
    leakage_record,
    random_split_leakage,
    read_split,
    write_split,
)
from data.splits.split import SplitConfig, make_split
from data.store import read_json, write_json

HAM10000 = Path(os.environ.get("HAM10000", "../shared/ham10000"))
LINKS = Links(lesion=3, patient=0, group=0, duplicate=1)


def manifest(labels: list[str], groups: list[str], source: str = "real") -> Manifest:
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(labels)), dtype=str)
    ids = [f"{source}{n}" for n in range(len(labels))]
    return Manifest(
        table.assign(
            image_id=ids, root="data", path=ids, label=labels, group_id=groups, lesion_id=groups, source=source
        ),
        {"data": Path("images")},
    )


def drawn(counts: dict[str, int], images_a_group: int = 2) -> Manifest:
    labels = [label for label, groups in counts.items() for _ in range(groups * images_a_group)]
    groups = [f"{label}{n // images_a_group}" for label, n in counts.items() for n in range(n * images_a_group)]
    return manifest(labels, groups)


def recorded(whole, **settings):
    config = SplitConfig(rare=("df",), **settings)
    split = make_split(whole, config, 0)
    return split, leakage_record(whole, LINKS, split, config, 0)


def test_a_split_and_its_record_are_read_as_they_were_written(tmp_path):
    whole = drawn({"nv": 20, "df": 10})
    split, record = recorded(whole)
    write_split(tmp_path, split, record)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "leakage.json",
        "test.csv",
        "train.csv",
        "validation.csv",
    ]
    again = read_split(tmp_path, whole.roots)
    assert [part.digest() for part in again.parts().values()] == [part.digest() for part in split.parts().values()]
    assert LeakageRecord.read(tmp_path) == record
    plain = read_json(tmp_path / "leakage.json")
    assert list(plain) == ["test", "left_out", "groups", "links", "parts", "shared_groups", "random_split"]
    assert plain["links"] == {"lesion": 3, "patient": 0, "group": 0, "duplicate": 1}


def test_a_record_counts_each_part_and_what_a_random_split_would_leak(tmp_path):
    whole = drawn({"nv": 20, "df": 10})
    split, record = recorded(whole)
    assert (record.test, record.groups, record.shared_groups, record.left_out) == ("by share", 30, 0, ())
    for name, part in split.parts().items():
        assert record.parts[name].images == 2 * record.parts[name].groups == len(part)
        assert record.parts[name].lesions == record.parts[name].groups
        assert record.parts[name].by_class == part.counts()
    assert [leaked.label for leaked in record.random_split] == ["df", "nv", "all"]
    expected = random_split_leakage(whole, 0.3, 0).to_dict("records")
    assert [vars(leaked) for leaked in record.random_split] == expected
    assert recorded(whole, n_splits=3, fold=1)[1].test == "fold 1 of 3"


def test_images_beside_an_official_test_set_are_kept_in_the_record(tmp_path):
    whole = drawn({"nv": 20, "df": 10})
    held = [f"real{n}" for n in (0, 2, 3, 40, 41)]
    part = whole.table["image_id"].isin(held).map({True: "test", False: ""})
    official = Manifest(whole.table.assign(part=part), whole.roots)
    split, record = recorded(official)
    assert (record.test, record.left_out) == ("official", ("real1",))
    write_split(tmp_path, split, record)
    assert read_split(tmp_path, whole.roots).left_out == {"real1"}


def test_an_ill_formed_record_is_refused_by_its_file(tmp_path):
    write_json(tmp_path / "leakage.json", {"test": "by share"})
    with pytest.raises(ConfigError, match=r"leakage\.json: left_out: "):
        LeakageRecord.read(tmp_path)


def test_what_a_random_split_leaks_is_what_the_groups_say():
    twins = random_split_leakage(drawn({"df": 2000}, images_a_group=2), test=0.2, seed=0)
    alone = random_split_leakage(drawn({"df": 500}, images_a_group=1), test=0.2, seed=0)
    assert float(twins["share"].iloc[0]) == pytest.approx(0.8, abs=0.04)  # the twin is in train with chance 0.8
    assert list(twins["label"]) == ["df", "all"]
    assert np.all(alone["leaked"] == 0)


def test_what_random_splits_leak_on_average_is_what_they_leak_one_by_one():
    table = Manifest.concat(
        drawn({"df": 40, "nv": 30}, images_a_group=3), manifest(["mel"] * 50, list("abcde") * 10, "synthetic")
    )
    table = table.where(~table.table["image_id"].isin(["real5", "synthetic3"]))
    expected = expected_leakage(table, test=0.25)
    draws = [random_split_leakage(table, 0.25, seed).set_index("label") for seed in range(400)]
    for label, share in expected.items():
        leaked, images = (sum(draw.loc[label, name] for draw in draws) for name in ("leaked", "images"))
        assert leaked / images == pytest.approx(share, abs=0.02)
    assert expected["df"] == pytest.approx(1 - 0.25**2, abs=0.005)  # two others, both in test with chance 1/16


@pytest.mark.skipif(not HAM10000.is_dir(), reason="HAM10000 is not here; name its folder in $HAM10000")
def test_a_random_split_of_ham10000_leaks_two_thirds_of_the_melanomas(tmp_path):
    ham10000 = load_manifest(DataConfig(source="ham10000", folder=str(HAM10000)), tmp_path)
    assert (len(ham10000), ham10000.table["group_id"].nunique()) == (10015, 7470)
    expected = expected_leakage(ham10000, test=0.2)
    assert expected["mel"] == pytest.approx(0.68, abs=0.01)
    assert expected["all"] == pytest.approx(0.39, abs=0.01)
    draws = [random_split_leakage(ham10000, 0.2, seed).set_index("label")["share"] for seed in range(8)]
    assert np.mean([draw["mel"] for draw in draws]) == pytest.approx(0.68, abs=0.05)
    assert np.mean([draw["all"] for draw in draws]) == pytest.approx(0.39, abs=0.02)
