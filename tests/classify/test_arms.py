from pathlib import Path

import pandas as pd
import pytest

from classify.arms import (
    ARMS,
    FULL,
    Arm,
    arm_of,
    compose,
    counts_by_source,
    external_arm,
    limit_to_shots,
    repeated,
)
from classify.config import ClassifierConfig
from data.errors import DataError
from data.manifest import Manifest
from data.splits.class_counts import fill_counts

RARE = ("df", "vasc")


def manifest(counts, source="real"):
    rows = [
        {
            "image_id": f"{source}-{label}-{i}", "root": source, "path": f"{label}-{i}.jpg", "label": label,
            "group_id": f"{label}-{i}", "lesion_id": f"{label}-{i}", "patient_id": "", "source": source, "lineage": "",
        }
        for label, n in counts.items()
        for i in range(n)
    ]  # fmt: skip
    return Manifest(pd.DataFrame(rows), {source: Path(source)})


TRAIN = manifest({"nv": 50, "mel": 12, "bkl": 9, "df": 4, "vasc": 3})


def composed_of(arm, added=None, train=TRAIN):
    """The table of an arm, by name, whose rare classes are filled up to the median class."""
    return compose(ARMS[arm], train, added, fill_counts(train, RARE))


def test_rare_classes_are_filled_up_to_the_median_class():
    assert fill_counts(TRAIN, RARE) == {"df": 5, "vasc": 6}
    assert fill_counts(TRAIN, RARE, 4) == {"df": 0, "vasc": 1}


def test_the_commonest_class_gets_none():
    assert fill_counts(TRAIN, ("nv", "df"), 60) == {"nv": 0, "df": 56}


def test_the_real_arm_is_the_train_table_as_it_is():
    assert composed_of("real").digest() == TRAIN.digest()


def test_the_oversampled_arm_repeats_real_images_evenly():
    composed = composed_of("oversampled")
    assert composed.counts() == {"bkl": 9, "df": 9, "mel": 12, "nv": 50, "vasc": 9}
    assert set(composed.table["source"]) == {"real"}
    assert composed.of("vasc").table["path"].value_counts().tolist() == [3, 3, 3]
    assert counts_by_source(composed)["df"] == {"real": 4, "repeated": 5, "synthetic": 0}


def test_the_synthetic_arm_has_the_same_counts_with_synthetic_images():
    composed = composed_of("synthetic", manifest({"df": 8, "vasc": 8}, "synthetic"))
    assert composed.counts() == composed_of("oversampled").counts()
    assert counts_by_source(composed)["df"] == {"real": 4, "repeated": 0, "synthetic": 5}
    assert counts_by_source(composed)["mel"] == {"real": 12, "repeated": 0, "synthetic": 0}


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.keeps_photographs])
def test_every_arm_that_keeps_photographs_holds_every_real_image(arm):
    composed = composed_of(arm, manifest({"df": 8, "vasc": 8}, "synthetic"))
    assert composed.table.head(len(TRAIN)).equals(TRAIN.table)


def test_synthetic_images_alone_take_the_place_of_photographs_of_the_filled_classes_only():
    composed = composed_of("synthetic-only", manifest({"df": 8, "vasc": 8, "mel": 8}, "synthetic"))
    kinds = {label: (found["real"], found["synthetic"]) for label, found in counts_by_source(composed).items()}
    assert kinds == {"bkl": (9, 0), "df": (0, 5), "mel": (12, 0), "nv": (50, 0), "vasc": (0, 6)}
    full = compose(ARMS["synthetic-only"], TRAIN, manifest({"vasc": 8}, "synthetic"), {"df": 0, "vasc": 2})
    assert full.counts()["df"] == 4  # a rare class that is full keeps its photographs
    assert set(full.of("vasc").table["source"]) == {"synthetic"}


def test_arms_of_the_same_table_differ_in_the_classifier_s_settings_alone():
    for arm, other in (("balanced", "real"), ("classical", "oversampled"), ("mixup", "oversampled")):
        assert composed_of(arm).digest() == composed_of(other).digest()
        assert ARMS[arm].settings
    images = manifest({"df": 8, "vasc": 8}, "synthetic")
    assert composed_of("synthetic-first", images).digest() == composed_of("synthetic", images).digest()


@pytest.mark.parametrize("arm", ARMS)
def test_the_settings_of_an_arm_are_settings_of_the_classifier(arm):
    changed = ClassifierConfig(**ARMS[arm].settings)
    assert (changed != ClassifierConfig()) is bool(ARMS[arm].settings)


def test_a_gated_arm_takes_what_there_is():
    few = manifest({"df": 2, "vasc": 8}, "synthetic")
    for arm in ("gated", "random"):
        assert composed_of(arm, few).counts() == {**TRAIN.counts(), "df": 4 + 2, "vasc": 9}
        with pytest.raises(DataError, match="source is 'real'"):
            composed_of(arm, manifest({"df": 8, "vasc": 8}))


def test_a_number_in_an_arm_s_name_is_its_photographs_or_its_dose():
    few, twice, half = arm_of("real@32"), arm_of("synthetic@2x"), arm_of("synthetic@0.5x")
    assert (few.name, few.photographs, few.source, few.is_generated) == ("real@32", 32, "", False)
    assert (twice.dose, twice.source, twice.is_generated, half.dose) == (2.0, "synthetic", True, 0.5)
    assert "up to 32 photographs" in few.note
    assert "0.5 times as many synthetic images" in half.note
    assert arm_of("real") is ARMS["real"]
    assert arm_of("real").photographs is arm_of("synthetic").dose is None


@pytest.mark.parametrize(
    "name",
    ["real@0", "real@", "real@-3", "real@1.5", "real@032", "synthetic@0x", "synthetic@0.0x", "synthetic@2", "mixed",
     "oversampled@2x", "synthetic@x", "a real@32", "real@32x", ""],
)  # fmt: skip
def test_a_name_of_another_form_is_no_arm(name):
    assert arm_of(name) is None


def test_the_full_study_has_every_row_and_begins_with_real():
    assert FULL[0] == "real"
    assert set(ARMS) < set(FULL)
    assert all(arm_of(name).name == name for name in FULL)
    assert len(set(FULL)) == len(FULL)


def test_limited_to_the_shots_a_rare_class_has_no_other_image():
    shots = {"df": TRAIN.of("df").where(TRAIN.of("df").table["image_id"].isin({"real-df-1", "real-df-3"}))}
    limited = limit_to_shots(TRAIN, shots)
    assert limited.counts() == {**TRAIN.counts(), "df": 2}
    assert set(limited.of("df").table["image_id"]) == {"real-df-1", "real-df-3"}
    assert set(composed_of("oversampled", train=limited).of("df").table["path"]) == {"df-1.jpg", "df-3.jpg"}


def test_too_few_synthetic_images_are_refused():
    with pytest.raises(DataError, match="'df' needs 5 synthetic images, but 2 are there"):
        composed_of("synthetic", manifest({"df": 2, "vasc": 8}, "synthetic"))
    with pytest.raises(DataError, match="'df' needs 5 images more, but none are there"):
        composed_of("synthetic")


def test_real_images_are_not_passed_off_as_synthetic():
    with pytest.raises(DataError, match="source is 'real'"):
        composed_of("synthetic", manifest({"df": 8, "vasc": 8}))


def test_the_autoencoded_arm_repeats_coded_images_as_the_oversampled_arm_repeats_real_ones():
    coded = manifest({"df": 4, "vasc": 3}, "synthetic")
    composed, oversampled = composed_of("autoencoded", coded), composed_of("oversampled")
    assert composed.counts() == oversampled.counts()
    assert composed.table["path"].tolist() == oversampled.table["path"].tolist()
    assert counts_by_source(composed)["df"] == {"real": 4, "repeated": 1, "synthetic": 4}


def test_an_arm_of_external_images_is_filled_like_the_synthetic_one():
    images, counts = manifest({"df": 8, "vasc": 8}, "synthetic"), fill_counts(TRAIN, RARE)
    external = compose(external_arm("theirs"), TRAIN, images, counts)
    assert external.digest() == composed_of("synthetic", images).digest()


def test_a_new_arm_is_one_row(monkeypatch):
    mirrored = Arm(
        name="halved", source="train", rows=lambda images, n: repeated(images, n // 2),
        compared_with=("real",), mark="cross", tone="other", note="half as many", subject="Halving",
    )  # fmt: skip
    monkeypatch.setitem(ARMS, "halved", mirrored)
    assert composed_of("halved").counts() == {"bkl": 9, "df": 6, "mel": 12, "nv": 50, "vasc": 6}


def test_every_arm_is_compared_with_arms_that_there_are_and_says_what_each_comparison_measures():
    for arm in (*map(arm_of, FULL), external_arm("theirs")):
        assert set(arm.compared_with) <= set(ARMS)
        assert set(arm.questions) == set(arm.compared_with)


def test_absent_classes_are_refused():
    with pytest.raises(DataError, match="no image of 'scc'"):
        fill_counts(TRAIN, ("scc",))
