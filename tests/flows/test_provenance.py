"""Every part of a run is held against the split by what it has seen along its lineage."""

import dataclasses

import pytest

from augment.generate.record import GeneratedImages
from data.errors import DataError
from data.sources.external import ExternalArm
from data.splits.provenance import Provenance
from data.splits.split import SplitConfig
from data.store import read_json
from flows import provenance
from flows.provenance import provenance_rows, write_provenance
from flows.stages.table import make_plan
from flows.study import StudyConfig


@pytest.fixture
def split(make_split):
    """Four images of one class and six of another, two a group."""
    split = make_split(drawn=False, df=4, nv=6)
    for part in split.parts().values():
        part.table["group_id"] = [f"{image[:-1]}{int(image[-1]) // 2}" for image in part.table["image_id"]]
    return split


def ids(*groups, is_complete=True):
    return Provenance(group_ids=frozenset(groups), is_complete=is_complete)


@pytest.fixture
def seen(monkeypatch):
    """What base, generators and external images have seen, for tests to set."""
    found = {"base": ids(), "generator": ids("train-df-0"), "external": ids(is_complete=False)}
    record = type("Record", (), {"stopped": None, "provenance": property(lambda _: found["generator"])})
    monkeypatch.setattr(GeneratedImages, "read", lambda folder: record())
    monkeypatch.setattr(provenance, "base_provenance", lambda base: found["base"])
    monkeypatch.setattr(provenance, "external_provenance", lambda folder: found["external"])
    return found


@pytest.fixture
def plan_of(prepare_study, split, tmp_path, monkeypatch):
    """The plan of a study with one arm of external images."""
    monkeypatch.setattr("flows.stages.table.external.plan", lambda prepared: ())

    every = ("real", "oversampled", "synthetic", ExternalArm(folder=str(tmp_path), name="theirs"))

    def plan(arms=every, **changes):
        given = {"seeds": (0,), "fill_to": 6, "split": SplitConfig(rare=("df",)), **changes}
        study = StudyConfig(arms=arms, output_dir=str(tmp_path), **given)
        study.folder.mkdir(exist_ok=True)
        return make_plan(prepare_study(study, split))

    return plan


def written(plan):
    write_provenance(plan)
    record = read_json(plan.prepared.study.folder / "provenance.json")
    rows = {(row["kind"], row["name"]): row for row in record["rows"]}
    return record, {
        key: (row["train"], row["validation"], row["test"], row["is_complete"]) for key, row in rows.items()
    }


def test_every_part_of_a_run_is_bound_to_the_split_by_what_it_has_seen(plan_of, seen):
    seen["base"] = ids("train-nv-0", "train-nv-1")
    record, counts = written(plan_of())
    assert counts == {
        ("base", "tiny"): (2, 0, 0, True),
        ("generator", "df"): (3, 0, 0, True),  # its shots and what its base has seen
        ("external", "theirs"): (0, 0, 0, False),
        ("classifier", "real"): (5, 0, 0, True),
        ("classifier", "oversampled"): (5, 0, 0, True),
        ("classifier", "synthetic"): (5, 0, 0, True),
        ("classifier", "theirs"): (5, 0, 0, False),
        ("checkpoint", ""): (0, 5, 0, True),
        ("figures", ""): (0, 0, 5, True),
    }
    assert record["groups"] == {"train": 5, "validation": 5, "test": 5}
    assert record["random_split"]["all"] == pytest.approx(1 - 1 / 3)  # a twin each, in test with chance 10 of 30


def test_what_is_not_known_of_the_base_is_not_known_of_what_comes_of_it(plan_of, seen):
    seen["base"], seen["external"] = ids("train-nv-0", is_complete=False), ids("train-df-1")
    _, counts = written(plan_of())
    assert counts["base", "tiny"] == (1, 0, 0, False)
    assert counts["generator", "df"] == (2, 0, 0, False)
    assert counts["classifier", "synthetic"] == (5, 0, 0, False)
    assert counts["classifier", "real"] == (5, 0, 0, False)  # its photographs are passed through the autoencoder, too
    assert counts["external", "theirs"] == (1, 0, 0, True)
    _, counts = written(plan_of(coding="none"))
    assert counts["classifier", "synthetic"] == (5, 0, 0, False)
    assert counts["classifier", "real"] == (5, 0, 0, True)


def test_an_external_folder_is_found_by_its_variable_too(plan_of, seen, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(provenance, "external_provenance", lambda folder: looked.append(folder) or ids("train-df-1"))
    monkeypatch.setenv("THEIR_IMAGES", str(tmp_path))
    written(plan_of(arms=("real", ExternalArm(folder="$THEIR_IMAGES", name="theirs"))))
    assert set(looked) == {tmp_path}


def test_a_generator_with_parts_distilled_by_others_has_seen_what_no_one_can_say(plan_of, seen):
    seen["generator"] = ids("train-df-0", is_complete=False)
    _, counts = written(plan_of())
    assert counts["base", "tiny"] == (0, 0, 0, True)
    assert counts["generator", "df"] == (1, 0, 0, False)
    assert counts["classifier", "synthetic"] == (5, 0, 0, False)


def test_the_autoencoded_arm_has_seen_what_the_base_has(plan_of, seen):
    seen["base"] = ids("train-nv-0", is_complete=False)
    for coding, is_complete in (("none", True), ("mixed", False), ("all", False)):
        _, counts = written(plan_of(arms=("real", "autoencoded"), coding=coding))
        assert counts["base", "tiny"] == (1, 0, 0, False)
        assert counts["classifier", "autoencoded"] == (5, 0, 0, False)
        assert counts["classifier", "real"] == (5, 0, 0, is_complete)


def test_an_arm_of_few_photographs_has_seen_those_and_no_others(plan_of, seen):
    few = SplitConfig(rare=("df",), shots=2, limit_real_to_shots=True)
    _, counts = written(plan_of(arms=("real", "real@1", "real@4", "oversampled"), split=few, fill_to=6))
    assert counts["classifier", "real@1"] == (4, 0, 0, True)  # three groups of nv and one of df's two
    assert counts["classifier", "real@4"] == counts["classifier", "real"] == (5, 0, 0, True)


def test_the_embedded_start_is_part_of_every_classifier_and_has_seen_nothing_of_a_study(plan_of, seen):
    classifier = dataclasses.replace(StudyConfig().classifier, weights="phantoms")
    _, counts = written(plan_of(arms=("real", "oversampled"), classifier=classifier))
    assert counts["weights", "phantoms"] == (0, 0, 0, True)
    assert counts["classifier", "real"] == (5, 0, 0, True)


def test_weights_of_other_origin_are_part_of_every_classifier(plan_of, seen):
    classifier = dataclasses.replace(StudyConfig().classifier, weights="mine.pth")
    _, counts = written(plan_of(arms=("real", "oversampled"), classifier=classifier))
    assert counts["weights", "mine.pth"] == (0, 0, 0, False)
    assert counts["classifier", "real"] == (5, 0, 0, False)
    assert ("base", "tiny") not in counts  # no arm uses it


@pytest.mark.parametrize("group", ["validation-df-0", "test-nv-1"])
def test_what_has_seen_a_group_that_it_is_judged_by_is_refused(plan_of, seen, group):
    seen["generator"] = ids("train-df-0", group)
    with pytest.raises(DataError, match=r"generator df has seen 1 leakage groups of the (validation|test) part"):
        write_provenance(plan_of())
    seen["base"] = ids(group)
    with pytest.raises(DataError, match="base tiny has seen 1 leakage groups"):
        write_provenance(plan_of())


def test_the_embedded_base_has_seen_none_of_a_study_s_groups(plan_of, monkeypatch, seen):
    monkeypatch.undo()
    plan = plan_of(arms=("real", "autoencoded"))
    assert provenance_rows(plan)[0].seen == Provenance()
