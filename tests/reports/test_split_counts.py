"""The split's numbers are those of its two records."""

from __future__ import annotations

from reports.run_folder import RunFolder
from reports.split_counts import split_counts


def test_parts_leaks_and_rows_are_those_of_the_records(make_run):
    split = split_counts(RunFolder.open(make_run()))
    assert (split.groups, split.shared_groups, split.test, split.left_out) == (410, 0, "by share", 0)
    assert split.parts["test"].by_class["nv"] == 60
    (mel,) = (leak for leak in split.random_split_leaks if leak.label == "mel")
    assert (mel.images, mel.leaked, mel.share) == (24, 8, 0.683)  # the share is that over all random splits
    assert [row.kind for row in split.provenance] == ["base", "generator", *["classifier"] * 3, "checkpoint", "figures"]


def test_what_the_base_has_seen_is_said_where_an_arm_uses_one(make_run):
    assert (
        split_counts(RunFolder.open(make_run())).base_has_seen
        == "9,000 images (mel 4,000, nv 5,000); drawn by a program"
    )
    assert split_counts(RunFolder.open(make_run(name="x", arms=("real", "oversampled")))).base_has_seen == ""
