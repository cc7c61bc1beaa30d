"""No leakage group is on two sides of a split, whatever the table."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import parse
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS, Manifest
from data.splits.duplicates import link
from data.splits.provenance import Provenance
from data.splits.split import (
    Split,
    SplitConfig,
    check_classes,
    few_shot,
    first_photographs,
    make_folds,
    make_split,
)


def provenance(**ids: Iterable[str]) -> Provenance:
    return Provenance(**{name: frozenset(found) for name, found in ids.items()})


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


ROWS = st.lists(
    st.tuples(st.sampled_from(["nv", "mel", "df"]), st.integers(0, 120), st.integers(0, 120)), min_size=30, max_size=120
)
PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=6)


def linked(rows: list[tuple[str, int, int]], duplicates: list[tuple[int, int]]) -> Manifest:
    """A table of (label, lesion, patient), 0 being unknown, whose patients have lesions of several classes."""
    labels, lesions, patients = zip(*rows, strict=True)
    whole = manifest(list(labels), [f"image{n}" for n in range(len(rows))])
    names = {
        name: [f"{name}{n}" if n else "" for n in ids]
        for name, ids in (("lesion_id", lesions), ("patient_id", patients))
    }
    table = whole.table.assign(**names)
    return link(Manifest(table, whole.roots), np.array(duplicates, np.int64).reshape(-1, 2))[0]


def assert_nothing_is_shared(split: Split, duplicates: list[tuple[int, int]]) -> None:
    """Checked by the table's own columns and the pairs, not by the groups made of them."""
    part_of = {image: name for name, part in split.parts().items() for image in part.table["image_id"]}
    for column in ("lesion_id", "patient_id", "group_id"):
        held = [set(part.table[column]) - {""} for part in split.parts().values()]
        assert sum(map(len, held)) == len(set.union(*held)), column
    assert all(part_of[f"real{one}"] == part_of[f"real{other}"] for one, other in duplicates)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), rows=ROWS, duplicates=PAIRS, folds=st.sampled_from([None, 2, 3, 5]))
def test_no_lesion_patient_or_duplicate_crosses_any_fold_and_each_image_is_tested_once(
    seed: int, rows: list[tuple[str, int, int]], duplicates: list[tuple[int, int]], folds: int | None
):
    whole = linked(rows, duplicates)
    try:
        splits = list(make_folds(whole, SplitConfig(rare=(), n_splits=folds), seed))
    except DataError as fault:
        assert "got no image" in str(fault) or "need at least one each" in str(fault)  # noqa: PT017 - no other refusal
        return
    for split in splits:
        assert_nothing_is_shared(split, duplicates)
        assert sorted(i for part in split.parts().values() for i in part.table["image_id"]) == sorted(
            whole.table["image_id"]
        )
    tested = [image for split in splits for image in split.test.table["image_id"]]
    assert len(tested) == len(set(tested))
    if folds is not None:
        assert set(tested) == set(whole.table["image_id"])


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(2, 5), min_size=18, max_size=40),
    ends=st.permutations(["train", "validation", "test"]),
    pick=st.integers(0, 10_000),
)
def test_no_image_can_be_moved_away_from_its_group(seed: int, sizes: list[int], ends: list[str], pick: int):
    labels = [("nv", "mel", "df")[group % 3] for group, size in enumerate(sizes) for _ in range(size)]
    groups = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    parts = make_split(manifest(labels, groups), SplitConfig(rare=("df",)), seed).parts()
    start, end, _ = ends
    moved = parts[start].table["image_id"] == parts[start].table["image_id"].iloc[pick % len(parts[start])]
    torn = {
        **parts,
        start: parts[start].where(~moved),
        end: Manifest.concat(parts[end], parts[start].where(moved)),
    }
    with pytest.raises(DataError, match="1 leakage groups are in both"):
        Split(**torn)


def test_folds_have_the_share_of_each_class():
    whole = drawn({"nv": 100, "mel": 30, "df": 10})
    splits = list(make_folds(whole, SplitConfig(rare=("df",), n_splits=5, val_size=0.2), 0))
    assert len(splits) == 5
    for split in splits:
        assert split.test.counts() == {"df": 4, "mel": 12, "nv": 40}
        assert {label: n / whole.counts()[label] for label, n in split.train.counts().items()} == pytest.approx(
            {"df": 0.6, "mel": 0.6, "nv": 0.6}, abs=0.05
        )


def test_a_fold_is_the_same_wherever_it_is_made():
    whole = drawn({"nv": 30, "df": 10})
    config = SplitConfig(rare=("df",), n_splits=4, fold=2)
    folds = [split.test.digest() for split in make_folds(whole, SplitConfig(rare=("df",), n_splits=4), 7)]
    assert len(set(folds)) == 4
    assert make_split(whole, config, 7).test.digest() == folds[2]


# Digests of the three parts before there were folds, with scikit-learn 1.9.
BEFORE = {0: ["20c7e865", "493d618c", "1f7e8b29"], 1: ["be63acf2", "9a1a348a", "ba09defb"]}


@pytest.mark.parametrize(("seed", "digests"), BEFORE.items())
def test_one_split_is_as_it_was_before_there_were_folds(seed: int, digests: list[str]):
    split = make_split(drawn({"nv": 30, "mel": 17, "df": 7}), SplitConfig(rare=("df",)), seed)
    assert [part.digest()[:8] for part in split.parts().values()] == digests


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_splits": 5, "fold": 5}, "there is no fold 5: the last of 5 is 4"),
        ({"fold": 1}, "there is no fold 1: `n_splits` is not set"),
        ({"n_splits": 1}, "n_splits: .* greater than or equal to 2"),
    ],
)
def test_a_fold_that_cannot_be_is_refused(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        parse(SplitConfig, settings, "split")


@pytest.mark.parametrize("shares", [{"test_size": 0.5, "val_size": 0.5}, {"n_splits": 2, "val_size": 0.6}])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares: dict[str, float]):
    with pytest.raises(DataError, match=r"test 0.5 \+ validation 0.. leaves nothing to train on"):
        make_split(drawn({"nv": 9, "df": 9}), SplitConfig(rare=("df",), **shares), 0)


def test_shares_and_classes_come_out_as_asked():
    whole = drawn({"nv": 300, "mel": 60, "df": 20})
    split = make_split(whole, SplitConfig(rare=("df",), test_size=0.3, val_size=0.2), 0)
    for part, share in zip(split.parts().values(), (0.5, 0.2, 0.3), strict=True):
        for label, n in whole.counts().items():
            assert part.counts()[label] / n == pytest.approx(share, abs=0.06)


def with_official(whole: Manifest, held: set[str]) -> Manifest:
    part = whole.table["image_id"].isin(held).map({True: "test", False: ""})
    return Manifest(whole.table.assign(part=part), whole.roots)


def test_an_official_test_set_is_the_test_part_unchanged(caplog: pytest.LogCaptureFixture):
    whole = drawn({"nv": 60, "df": 20}, images_a_group=2)
    held = {"real0", "real1", "real3", "real120", "real121"}  # of the second mole, a twin stays behind
    split = make_split(with_official(whole, held), SplitConfig(rare=("df",), test_size=0.85, val_size=0.3), 0)
    assert set(split.test.table["image_id"]) == held
    rest = {*split.train.table["image_id"], *split.validation.table["image_id"]}
    assert rest == set(whole.table["image_id"]) - held - {"real2"}
    assert split.left_out == {"real2"}
    with pytest.raises(DataError, match=r"a base has seen 1 images that share a leakage group with the test part"):
        split.refuse_seen(provenance(group_ids=["called otherwise"], image_ids=["real2"]), "a base")
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
        assert "got no image" in str(fault) or "need at least one each" in str(fault)  # noqa: PT017 - no other refusal
        return
    groups = [set(part.table["group_id"]) for part in split.parts().values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert set(split.test.table["image_id"]) == {f"real{n}" for n in held}


def test_a_class_that_the_official_test_set_leaves_too_few_lesions_is_named():
    whole = with_official(drawn({"nv": 9, "df": 3}), {"real0", "real18", "real20"})
    with pytest.raises(DataError, match="'df' has 1 leakage group; train and validation need at least one each"):
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
def test_a_model_trained_on_an_evaluation_group_is_refused(part: str):
    split = make_split(drawn({"nv": 30, "df": 10}), SplitConfig(rare=("df",)), 0)
    split.refuse_seen(provenance(group_ids=split.train.table["group_id"]), "an adapter")
    leaked = split.parts()[part].table["group_id"].iloc[0]
    with pytest.raises(DataError, match=f"an adapter has seen 1 leakage groups of the {part} part"):
        split.refuse_seen(provenance(group_ids=[*split.train.table["group_id"], leaked]), "an adapter")
    other = "test" if part == "validation" else "validation"
    split.refuse_seen(provenance(group_ids=[leaked]), "a model that is not evaluated on that part", parts=(other,))


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("name", ["image_id", "lesion_id", "patient_id"])
def test_a_training_image_lesion_or_patient_finds_its_group_whatever_its_name(name: str, part: str):
    whole = drawn({"nv": 30, "df": 10})
    groups = whole.table["group_id"]
    known = whole.table.assign(lesion_id="lesion " + groups, patient_id="patient " + groups)
    split = make_split(Manifest(known, whole.roots), SplitConfig(rare=("df",)), 0)
    split.refuse_seen(provenance(group_ids=["another study's"], **{f"{name}s": split.train.table[name]}), "an adapter")
    shown, group = split.parts()[part].table[[name, "group_id"]].iloc[0]
    with pytest.raises(DataError, match=rf"has seen 1 leakage groups of the {part} part, first \['{group}'\]"):
        split.refuse_seen(provenance(group_ids=["another study's"], **{f"{name}s": [shown]}), "an adapter")


def test_a_class_with_too_few_lesions_is_named():
    with pytest.raises(DataError, match="'df' has 2 leakage groups"):
        make_split(drawn({"nv": 9, "df": 2}), SplitConfig(rare=("df",)), 0)


def test_a_rare_class_that_no_image_has_is_named():
    with pytest.raises(DataError, match="'vasc', which no image has"):
        make_split(drawn({"nv": 9, "df": 9}), SplitConfig(rare=("vasc",)), 0)


def test_a_class_with_fewer_groups_than_folds_is_named():
    with pytest.raises(DataError, match="'df' has 4 leakage groups; the test parts of 5 folds need at least one each"):
        make_split(drawn({"nv": 9, "df": 4}), SplitConfig(rare=("df",), n_splits=5), 0)


def test_an_official_test_set_and_folds_exclude_each_other():
    official = drawn({"nv": 9, "df": 9})
    official = Manifest(official.table.assign(part=["test" if n % 6 < 2 else "" for n in range(36)]), official.roots)
    assert make_split(official, SplitConfig(rare=("df",)), 0).test.table["part"].eq("test").all()
    with pytest.raises(DataError, match=r"split.n_splits is 3, but the test part is given; leave it out, or data.test"):
        make_split(official, SplitConfig(rare=("df",), n_splits=3), 0)


def test_all_that_is_wrong_with_the_classes_can_be_had_at_once():
    faults = []
    whole = drawn({"nv": 9, "df": 2, "mel": 1})
    check_classes(whole, SplitConfig(rare=("vasc", "df", "akiec")), faults.append)
    assert [fault.examples for fault in faults] == [
        ("split.rare names 'akiec', which no image has", "split.rare names 'vasc', which no image has"),
        ("'df' has 2 leakage groups", "'mel' has 1 leakage group"),
    ]


def test_shots_come_from_distinct_lesions():
    train = drawn({"df": 12, "nv": 3}, images_a_group=3)
    shots = few_shot(train, "df", 8, seed=0)
    assert len(shots) == shots.table["lesion_id"].nunique() == 8
    assert set(shots.table["label"]) == {"df"}
    assert len(few_shot(train, "df", 99, seed=0)) == 12
    assert few_shot(train, "df", 8, seed=1).digest() != shots.digest()


@pytest.mark.parametrize("seed", range(3))
def test_the_first_photographs_are_the_few_shots_then_other_lesions_then_further_photographs(seed: int):
    train = drawn({"df": 12, "nv": 3}, images_a_group=3)
    few = [set(first_photographs(train, "df", n, seed).table["image_id"]) for n in range(37)]
    assert [len(chosen) for chosen in few] == list(range(37))
    assert all(smaller < larger for smaller, larger in pairwise(few))
    assert few[8] == set(few_shot(train, "df", 8, seed).table["image_id"])
    lesions = [first_photographs(train, "df", n, seed).table["lesion_id"].nunique() for n in (5, 12, 20)]
    assert lesions == [5, 12, 12]
    assert first_photographs(train, "df", 99, seed).digest() == train.of("df").digest()


def test_another_seed_gives_other_first_photographs_and_no_synthetic_one_is_among_them():
    train = drawn({"df": 12, "nv": 3})
    first, other = (first_photographs(train, "df", 8, seed).digest() for seed in (0, 1))
    assert first != other
    whole = Manifest.concat(train, manifest(["df"] * 9, [f"s{n}" for n in range(9)], source="synthetic"))
    assert set(first_photographs(whole, "df", 99, 0).table["source"]) == {"real"}


def test_one_lesion_is_no_class_to_learn():
    with pytest.raises(DataError, match="at least 2"):
        few_shot(drawn({"df": 1}), "df", 8, seed=0)


def test_an_image_outside_the_train_part_or_under_another_group_is_refused_by_its_id():
    split = make_split(drawn({"nv": 30, "df": 10}), SplitConfig(rare=("df",)), 0)
    train, test = split.train.table, split.test.table
    split.require_in_train(train["image_id"], train["group_id"], "edits")
    outside = test["image_id"].iloc[0]
    with pytest.raises(DataError, match=rf"edits: 1 are not in the train part, first \['{outside}'\]"):
        split.require_in_train([outside], [test["group_id"].iloc[0]], "edits")
    with pytest.raises(DataError, match="are not in the train part"):
        split.require_in_train([train["image_id"].iloc[0]], ["another"], "edits")
