"""No leakage group stands on two sides, whatever the table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.splits import Split, SplitConfig, few_shot, make_split, random_split_leakage


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


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 5), min_size=18, max_size=60))
def test_no_group_crosses_the_split_and_nothing_is_lost(seed: int, sizes: list[int]):
    labels = [("nv", "mel", "df")[group % 3] for group, size in enumerate(sizes) for _ in range(size)]
    groups = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    whole = manifest(labels, groups)
    try:
        split = make_split(whole, SplitConfig(rare=("df",)), seed)
    except DataError as fault:
        assert "got no image" in str(fault)  # noqa: PT017 - the only refusal that such a table may meet
        return
    held = [set(part.table["group_id"]) for part in split.parts().values()]
    assert sum(map(len, held)) == len(set.union(*held))
    assert sorted(i for part in split.parts().values() for i in part.table["image_id"]) == sorted(
        whole.table["image_id"]
    )


def test_shares_and_classes_come_out_as_asked():
    whole = drawn({"nv": 300, "mel": 60, "df": 20})
    split = make_split(whole, SplitConfig(rare=("df",), test=0.3, validation=0.2), 0)
    for part, share in zip(split.parts().values(), (0.5, 0.2, 0.3), strict=True):
        for label, n in whole.counts().items():
            assert part.counts()[label] / n == pytest.approx(share, abs=0.06)


def with_official(whole: Manifest, held: set[str]) -> Manifest:
    part = whole.table["image_id"].isin(held).map({True: "test", False: ""})
    return Manifest(whole.table.assign(part=part), whole.roots)


def test_an_official_test_set_is_the_test_part_as_it_stands(caplog: pytest.LogCaptureFixture):
    whole = drawn({"nv": 60, "df": 20}, images_a_group=2)
    held = {"real0", "real1", "real3", "real120", "real121"}  # of the second mole, a twin stays behind
    split = make_split(with_official(whole, held), SplitConfig(rare=("df",), test=0.85, validation=0.3), 0)
    assert set(split.test.table["image_id"]) == held
    rest = {*split.train.table["image_id"], *split.validation.table["image_id"]}
    assert rest == set(whole.table["image_id"]) - held - {"real2"}
    assert "1 images share a leakage group with the official test set and are left out" in caplog.text
    assert "first real2" in caplog.text
    assert len(split.validation) / len(rest) == pytest.approx(0.3, abs=0.05)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), held=st.sets(st.integers(0, 119), min_size=12))
def test_no_group_crosses_to_an_official_test_set(seed: int, held: set[int]):
    whole = with_official(drawn({"nv": 30, "df": 10}, images_a_group=3), {f"real{n}" for n in held})
    try:
        split = make_split(whole, SplitConfig(rare=("df",)), seed)
    except DataError as fault:
        assert "got no image" in str(fault) or "lesion groups" in str(fault)  # noqa: PT017 - all that may be refused
        return
    groups = [set(part.table["group_id"]) for part in split.parts().values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert set(split.test.table["image_id"]) == {f"real{n}" for n in held}


def test_a_class_that_the_official_test_set_leaves_too_few_lesions_is_named():
    whole = with_official(drawn({"nv": 9, "df": 3}), {"real0", "real18", "real20"})
    with pytest.raises(DataError, match="'df' has 1 lesion groups; train and validation need at least one each"):
        make_split(whole, SplitConfig(rare=("df",)), 0)


def test_the_same_seed_gives_the_same_split_and_another_another():
    whole = drawn({"nv": 30, "df": 10})
    first, again, other = (make_split(whole, SplitConfig(rare=("df",)), seed) for seed in (1, 1, 2))
    assert first.test.digest() == again.test.digest() != other.test.digest()


def test_a_split_with_a_shared_group_cannot_be_built():
    a, b = manifest(["nv"], ["g"]), manifest(["nv"], ["h"])
    with pytest.raises(DataError, match=r"both train and test, first \['g'\]"):
        Split(a, b, a)


def test_synthetic_images_are_for_training_alone():
    synthetic = manifest(["nv"], ["s"], source="synthetic")
    with pytest.raises(DataError, match="test part holds synthetic"):
        Split(manifest(["nv"], ["g"]), manifest(["nv"], ["h"]), synthetic)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_what_has_seen_a_group_that_it_is_judged_by_is_refused(part: str):
    split = make_split(drawn({"nv": 30, "df": 10}), SplitConfig(rare=("df",)), 0)
    split.refuse_seen(split.train.table["group_id"], by="an adapter")
    leaked = split.parts()[part].table["group_id"].iloc[0]
    with pytest.raises(DataError, match=f"an adapter has seen 1 leakage groups of the {part} part"):
        split.refuse_seen([*split.train.table["group_id"], leaked], by="an adapter")


def test_a_class_with_too_few_lesions_is_named():
    with pytest.raises(DataError, match="'df' has 2 lesion groups"):
        make_split(drawn({"nv": 9, "df": 2}), SplitConfig(rare=("df",)), 0)


def test_a_rare_class_that_no_image_bears_is_named():
    with pytest.raises(DataError, match="'vasc', which no image bears"):
        make_split(drawn({"nv": 9, "df": 9}), SplitConfig(rare=("vasc",)), 0)


def test_shots_come_from_distinct_lesions():
    train = drawn({"df": 12, "nv": 3}, images_a_group=3)
    shots = few_shot(train, "df", 8, seed=0)
    assert len(shots) == shots.table["lesion_id"].nunique() == 8
    assert set(shots.table["label"]) == {"df"}
    assert len(few_shot(train, "df", 99, seed=0)) == 12
    assert few_shot(train, "df", 8, seed=1).digest() != shots.digest()


def test_one_lesion_is_no_class_to_learn():
    with pytest.raises(DataError, match="at least 2"):
        few_shot(drawn({"df": 1}), "df", 8, seed=0)


def test_what_a_random_split_leaks_is_what_the_groups_say():
    twins = random_split_leakage(drawn({"df": 2000}, images_a_group=2), test=0.2, seed=0)
    alone = random_split_leakage(drawn({"df": 500}, images_a_group=1), test=0.2, seed=0)
    assert float(twins["share"].iloc[0]) == pytest.approx(0.8, abs=0.04)  # the twin is in train with chance 0.8
    assert list(twins["label"]) == ["df", "all"]
    assert np.all(alone["leaked"] == 0)
