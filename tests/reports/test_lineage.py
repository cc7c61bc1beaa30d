"""What is said of where things come from must be what the records say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from classify.arms import ARMS
from reports import lineage
from reports.schema import ProvenanceRow
from reports.summary import summarise


def test_what_ties_groups_is_named_where_something_does(make_run):
    split = summarise(make_run()).split
    assert lineage.links(split) == "300 lesion, 120 patient and 7 duplicate links"
    assert lineage.links(replace(split, links={"patient": 0, "lesion": 0, "duplicate": 7})) == "7 duplicate links"
    assert lineage.links(replace(split, links={"patient": 0})) == ""


def test_what_is_known_of_external_images_is_said(make_run):
    summary = summarise(make_run(external={"theirs": None, "ours": ["g-1", "g-2"]}))
    unknown, known = (lineage.external_in_words(summary.external[arm]) for arm in ("theirs", "ours"))
    assert "30 images from /made/theirs, only 29 of them different files. Their lineage is unknown" in unknown
    assert "2 images are nearly the same as one of the train part" in unknown
    assert "their generator has seen 2 leakage groups of train" in known
    assert "unknown" not in known
    assert "A person" not in known
    chosen = lineage.external_in_words(replace(summary.external["ours"], by_hand={"accepted": 40, "rejected": 1200}))
    assert "A person chose them by eye: 40 were accepted, 1,200 rejected. A record" in chosen


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, "unknown"),
        (
            {"images": 9, "by_class": {"nv": 9}, "groups": "drawn by a program"},
            "9 images (nv 9); drawn by a program",
        ),
        ({"images": 1, "by_class": {}, "groups": 1200}, "1 image; 1,200 leakage groups"),
        (
            {
                "images": 2,
                "by_class": {"mel": 2},
                "groups": 1,
                "part": "train",
                "before": {"images": 9, "by_class": {}, "groups": "drawn by a program"},
            },
            "2 images (mel 2); 1 leakage group, all of the train part; before that 9 images; drawn by a program",
        ),
        (
            {"images": 2, "by_class": {}, "groups": 2, "part": "train", "before": {}},
            "2 images; 2 leakage groups, all of the train part; before that unknown",
        ),
    ],
)
def test_what_a_base_was_trained_on_is_said_as_far_as_it_is_known(record, expected):
    assert lineage.base_in_words(record) == expected


@pytest.mark.parametrize(
    ("kind", "name", "title", "role"),
    [
        ("external", "theirs", "Generator of theirs", "another program, which made that arm’s images"),
        ("weights", "mine.pt", "Initial weights", "every classifier is initialised from them: mine.pt"),
        ("classifier", "oversampled", "Classifier oversampled", "the images that it is trained on"),
        ("classifier", "autoencoded", "Classifier autoencoded", "its real images, and what the generators of"),
        ("another", "x", "another", ""),
    ],
)
def test_a_row_of_the_provenance_is_named_with_its_role(kind, name, title, role):
    row = ProvenanceRow(kind=kind, name=name, train=0, validation=0, test=0, is_complete=True)
    assert lineage.row_name(row) == title
    assert lineage.row_role(row, ARMS).startswith(role)


def test_a_generator_that_was_stopped_by_request_is_said_to_be():
    row = ProvenanceRow(
        kind="generator", name="df", train=8, validation=0, test=0, is_complete=True, note="stopped by x"
    )
    assert lineage.row_role(row, ARMS) == "its few-shot images, and what its base has seen; stopped by x"
