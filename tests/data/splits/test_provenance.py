"""Training images are known by ids that mean the same in every study."""

import pandas as pd
import pytest

from data.manifest import COLUMNS, Manifest
from data.splits.provenance import Provenance


@pytest.fixture
def part(tmp_path):
    rows = {
        "image_id": ["a", "b", "c"],
        "group_id": ["a", "a", "c"],
        "lesion_id": ["L1", "", ""],
        "patient_id": ["", "P", ""],
    }
    table = pd.DataFrame({**dict.fromkeys(COLUMNS, ""), **rows, "path": ["a", "b", "c"], "label": "nv"})
    return Manifest(table.assign(root="r", source="real"), {"r": tmp_path})


def provenance(**ids):
    return Provenance(**{name: frozenset(given) for name, given in ids.items()})


def test_an_empty_id_is_unknown(part):
    assert Provenance.of(part) == provenance(group_ids="ac", image_ids="abc", lesion_ids=["L1"], patient_ids=["P"])
    assert provenance(lesion_ids=["L2"], patient_ids=["P2"]).groups_in(part) == set()


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        ({"group_ids": "c"}, {"c"}),
        ({"image_ids": "b"}, {"a"}),
        ({"lesion_ids": ["L1"]}, {"a"}),
        ({"patient_ids": ["P"], "image_ids": "c"}, {"a", "c"}),
    ],
)
def test_any_id_of_a_group_finds_it(part, ids, groups):
    assert provenance(**ids).groups_in(part) == groups


def test_a_record_is_read_as_it_was_written(part):
    found = Provenance.of(part)
    assert found.is_complete
    assert found.to_record() == {
        "group_ids": ["a", "c"],
        "image_ids": ["a", "b", "c"],
        "lesion_ids": ["L1"],
        "patient_ids": ["P"],
        "is_complete": True,
    }
    assert Provenance.from_record(found.to_record()) == found
    assert Provenance.from_record(Provenance.unknown().to_record()) == Provenance.unknown()


@pytest.mark.parametrize(
    "record",
    [{}, "a text", None, {"group_ids": "drawn by a program"}, {"group_ids": [], "is_complete": True}],
)
def test_a_record_that_is_missing_or_ill_formed_names_nothing_and_is_incomplete(record):
    assert Provenance.from_record(record) == Provenance.unknown()


def test_a_record_keeps_what_it_names_where_a_list_is_missing(part):
    record = Provenance.of(part).to_record()
    del record["patient_ids"]
    assert Provenance.from_record(record) == Provenance(
        group_ids=frozenset("ac"), image_ids=frozenset("abc"), lesion_ids=frozenset(["L1"]), is_complete=False
    )
    assert not Provenance.from_record({**Provenance.of(part).to_record(), "is_complete": "yes"}).is_complete


def test_two_provenances_join_their_ids_and_are_complete_if_both_are(part):
    one, other = provenance(group_ids="c"), provenance(image_ids="z", group_ids="d")
    assert one | other == provenance(group_ids="cd", image_ids="z")
    assert not (one | Provenance.unknown()).is_complete
    assert (one | Provenance.unknown()).group_ids == {"c"}
