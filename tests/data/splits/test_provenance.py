"""What was seen is told by ids that mean the same in every study."""

import pandas as pd
import pytest

from data.manifest import COLUMNS, Manifest
from data.splits.provenance import SeenIds


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


def seen(**ids):
    return SeenIds(**{name: frozenset(given) for name, given in ids.items()})


def test_an_empty_id_tells_nothing(part):
    assert SeenIds.of(part) == seen(group_ids="ac", image_ids="abc", lesion_ids=["L1"], patient_ids=["P"])
    assert seen(lesion_ids=["L2"], patient_ids=["P2"]).groups_in(part) == set()


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
    assert seen(**ids).groups_in(part) == groups


def test_a_record_is_read_as_it_was_written_and_what_was_before_counts(part):
    found = SeenIds.of(part)
    assert SeenIds.told(found.record()) == found
    base = {"groups": ["c"], "images": 1, "before": {"groups": "drawn by a program", "image_ids": ["z"], "before": 3}}
    assert SeenIds.told(base) == seen(group_ids="c", image_ids="z")
    assert SeenIds.told({"groups": "unknown", "images": "unknown"}) == SeenIds()
