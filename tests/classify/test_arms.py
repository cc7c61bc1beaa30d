from pathlib import Path

import pandas as pd
import pytest

from classify.arms import compose, counts_by_source, fill_counts, limit_to_shots
from data.errors import ConfigError, DataError
from data.manifest import Manifest

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


def test_rare_classes_are_filled_up_to_the_median_class():
    assert fill_counts(TRAIN, RARE) == {"df": 5, "vasc": 6}
    assert fill_counts(TRAIN, RARE, 4) == {"df": 0, "vasc": 1}


def test_the_commonest_class_gets_none():
    assert fill_counts(TRAIN, ("nv", "df"), 60) == {"nv": 0, "df": 56}


def test_the_real_arm_is_the_train_table_as_it_is():
    assert compose("real", TRAIN, None, RARE).digest() == TRAIN.digest()


def test_the_oversampled_arm_repeats_real_images_evenly():
    composed = compose("oversampled", TRAIN, None, RARE)
    assert composed.counts() == {"bkl": 9, "df": 9, "mel": 12, "nv": 50, "vasc": 9}
    assert set(composed.table["source"]) == {"real"}
    assert composed.of("vasc").table["path"].value_counts().tolist() == [3, 3, 3]
    assert counts_by_source(composed)["df"] == {"real": 4, "repeated": 5, "synthetic": 0}


def test_the_synthetic_arm_has_the_same_counts_with_synthetic_images():
    composed = compose("synthetic", TRAIN, manifest({"df": 8, "vasc": 8}, "synthetic"), RARE)
    assert composed.counts() == compose("oversampled", TRAIN, None, RARE).counts()
    assert counts_by_source(composed)["df"] == {"real": 4, "repeated": 0, "synthetic": 5}
    assert counts_by_source(composed)["mel"] == {"real": 12, "repeated": 0, "synthetic": 0}


@pytest.mark.parametrize("arm", ["real", "oversampled", "synthetic"])
def test_every_arm_holds_every_real_image(arm):
    composed = compose(arm, TRAIN, manifest({"df": 8, "vasc": 8}, "synthetic"), RARE)
    assert composed.table.head(len(TRAIN)).equals(TRAIN.table)


def test_limited_to_the_shots_a_rare_class_has_no_other_image():
    shots = {"df": TRAIN.of("df").where(TRAIN.of("df").table["image_id"].isin({"real-df-1", "real-df-3"}))}
    limited = limit_to_shots(TRAIN, shots)
    assert limited.counts() == {**TRAIN.counts(), "df": 2}
    assert set(limited.of("df").table["image_id"]) == {"real-df-1", "real-df-3"}
    assert set(compose("oversampled", limited, None, RARE).of("df").table["path"]) == {"df-1.jpg", "df-3.jpg"}


def test_too_few_synthetic_images_are_refused():
    with pytest.raises(DataError, match="'df' needs 5 synthetic images, but 2 are there"):
        compose("synthetic", TRAIN, manifest({"df": 2, "vasc": 8}, "synthetic"), RARE)
    with pytest.raises(DataError, match="'df' needs 5 synthetic images, but 0 are there"):
        compose("synthetic", TRAIN, None, RARE)


def test_real_images_are_not_passed_off_as_synthetic():
    with pytest.raises(DataError, match="source is 'real'"):
        compose("synthetic", TRAIN, manifest({"df": 8, "vasc": 8}), RARE)


def test_unknown_arms_and_absent_classes_are_refused():
    with pytest.raises(ConfigError, match="'mixed'; known: real, oversampled, synthetic"):
        compose("mixed", TRAIN, None, RARE)
    with pytest.raises(DataError, match="no image of 'scc'"):
        fill_counts(TRAIN, ("scc",))
