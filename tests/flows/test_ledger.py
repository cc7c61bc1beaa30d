"""Whatever a part of the run has seen stands in the ledger, and nothing is judged by what it has seen."""

import dataclasses

import pandas as pd
import pytest

from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.sources.external import FolderArm
from data.splits.provenance import SeenIds
from data.splits.split import Split
from data.store import read_json, write_json
from flows.elsewhere import Elsewhere
from flows.ledger import seen_by_all, write_ledger
from flows.steps import Step
from flows.study import StudyConfig


def part(name, folder):
    """Two classes of four images, two a group."""
    ids = [f"{name}-{label}-{i}" for label in ("df", "nv") for i in range(4)]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "root": "r", "source": "real"}
    labels, groups = [i.split("-")[1] for i in ids], [f"{i[:-1]}{int(i[-1]) // 2}" for i in ids]
    return Manifest(pd.DataFrame({**columns, "label": labels, "group_id": groups}), {"r": folder})


@pytest.fixture
def split(tmp_path):
    return Split(*(part(name, tmp_path) for name in ("train", "validation", "test")))


@pytest.fixture
def config(tmp_path, monkeypatch):
    arms = ("real", "oversampled", "synthetic", FolderArm(folder="x", name="theirs"))
    return StudyConfig(arms=arms, runs=str(tmp_path), seeds=(0,))


def drawn(folder, *groups):
    step = Step(stage="images", what="df", folder=folder / "images", inputs={}, make=lambda *_: None)
    write_json(step.target / "generation.json", {"seen": {"image_ids": [], "group_ids": list(groups)}})
    return {"df": step}


def given(folder, seen):
    step = Step(stage="folder", what="theirs", folder=folder / "folder", inputs={}, make=lambda *_: None)
    arm, ids = FolderArm(folder="x", name="theirs"), SeenIds(group_ids=frozenset(seen or ()))
    return {"theirs": Elsewhere(arm=arm, chosen=part("made", folder), step=step, seen=ids, known=seen is not None)}


def base_that_saw(monkeypatch, record):
    monkeypatch.setattr("flows.ledger.seen_by", lambda _: record)


def ledger(config, split, drawn, given):
    write_ledger(config, split, split.train, drawn, given)
    written = read_json(config.folder / "ledger.json")
    rows = {(row["kind"], row["name"]): row for row in written["seen"]}
    counts = {key: (row["train"], row["validation"], row["test"], row["known"]) for key, row in rows.items()}
    return written, counts


def test_every_part_of_a_run_is_bound_to_the_split_by_what_it_has_seen(config, split, tmp_path, monkeypatch):
    base_that_saw(monkeypatch, {"images": 4, "groups": ["train-nv-0", "train-nv-1"]})
    written, counts = ledger(config, split, drawn(tmp_path, "train-df-0"), given(tmp_path, None))
    assert counts == {
        ("base", "tiny"): (2, 0, 0, True),
        ("generator", "df"): (3, 0, 0, True),  # its shots and what its base has seen
        ("elsewhere", "theirs"): (0, 0, 0, False),
        ("classifier", "real"): (4, 0, 0, True),
        ("classifier", "oversampled"): (4, 0, 0, True),
        ("classifier", "synthetic"): (4, 0, 0, True),
        ("classifier", "theirs"): (4, 0, 0, False),
        ("checkpoint", ""): (0, 4, 0, True),
        ("figures", ""): (0, 0, 4, True),
    }
    assert written["groups"] == {"train": 4, "validation": 4, "test": 4}
    assert written["random_split"]["all"] == pytest.approx(1 - 1 / 3)  # a twin each, in test with chance 8 of 24


def test_what_the_base_began_from_is_part_of_the_lineage(config, split, tmp_path, monkeypatch):
    before = {"images": "unknown", "groups": "unknown"}
    base_that_saw(monkeypatch, {"images": 4, "groups": ["train-nv-0"], "before": before})
    _, counts = ledger(config, split, drawn(tmp_path, "train-df-0"), given(tmp_path, ["train-df-1"]))
    assert counts["base", "tiny"] == (1, 0, 0, False)
    assert counts["generator", "df"] == (2, 0, 0, False)
    assert counts["classifier", "synthetic"] == (4, 0, 0, False)
    assert counts["classifier", "real"] == (4, 0, 0, True)
    assert counts["elsewhere", "theirs"] == (1, 0, 0, True)


def test_a_generator_with_a_distilled_part_of_others_has_seen_what_no_one_can_say(config, split, tmp_path):
    made = drawn(tmp_path, "train-df-0")
    write_json(made["df"].target / "generation.json", {"seen": {"group_ids": ["train-df-0"], "base": "unknown"}})
    _, counts = ledger(config, split, made, given(tmp_path, ["train-df-1"]))
    assert counts["base", "tiny"] == (0, 0, 0, True)
    assert counts["generator", "df"] == (1, 0, 0, False)
    assert counts["classifier", "synthetic"] == (4, 0, 0, False)


def test_weights_that_came_from_elsewhere_are_part_of_every_classifier(config, split, tmp_path):
    mine = dataclasses.replace(config, classifier=dataclasses.replace(config.classifier, weights="mine.pth"))
    _, counts = ledger(mine, split, {}, given(tmp_path, None))
    assert counts["weights", "mine.pth"] == (0, 0, 0, False)
    assert counts["classifier", "real"] == (4, 0, 0, False)
    assert ("base", "tiny") not in counts  # no arm uses it


@pytest.mark.parametrize("group", ["validation-df-0", "test-nv-1"])
def test_what_has_seen_a_group_that_it_is_judged_by_is_refused(config, split, tmp_path, group, monkeypatch):
    with pytest.raises(DataError, match=r"generator df has seen 1 leakage groups of the (validation|test) part"):
        ledger(config, split, drawn(tmp_path, "train-df-0", group), given(tmp_path, None))
    base_that_saw(monkeypatch, {"images": 1, "groups": [group]})
    with pytest.raises(DataError, match="base tiny has seen 1 leakage groups"):
        ledger(config, split, drawn(tmp_path, "train-df-0"), given(tmp_path, None))


def test_the_embedded_base_has_seen_none_of_a_study_s_groups(config, split, tmp_path):
    seen = seen_by_all(config, split, split.train, drawn(tmp_path, "train-df-0"), given(tmp_path, None))
    assert (seen[0].kind, seen[0].ids, seen[0].known) == ("base", SeenIds(), True)
