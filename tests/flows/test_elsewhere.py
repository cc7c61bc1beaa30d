"""Images made elsewhere fill an arm up to the same counts, and none of them has seen what judges it."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classify.arms import compose, counts_by_source
from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.sources.external import FolderArm
from data.splits.split import Split, SplitConfig
from data.store import read_json, write_json
from flows.compare import arm_step, folder_images
from flows.pipeline import steps_of
from flows.prepare import Images
from flows.study import StudyConfig

COUNTS = {"nv": 6, "mel": 5, "df": 2}  # a part; df is filled up to 5


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(path)


def part(folder, name, first):
    ids = [f"{name}-{label}-{i}" for label, n in COUNTS.items() for i in range(n)]
    for seed, image in enumerate(ids, start=first):
        picture(folder / f"{image}.png", seed)
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "group_id": ids, "path": [f"{i}.png" for i in ids]}
    labels = [image.split("-")[1] for image in ids]
    lesions = [f"lesion-{image}" for image in ids]
    table = pd.DataFrame({**columns, "label": labels, "lesion_id": lesions}).assign(root="r", source="real")
    return Manifest(table, {"r": folder})


@pytest.fixture
def study(tmp_path):
    """A study of noise pictures with one folder arm of three, which the rare class needs."""
    parts = [part(tmp_path / "real", name, 100 * k) for k, name in enumerate(("train", "validation", "test"))]
    for i in range(3):
        picture(tmp_path / "made" / "df" / f"{i}.png", 900 + i)
    arms = ("real", "oversampled", FolderArm(folder=str(tmp_path / "made"), name="theirs"))
    config = StudyConfig(
        arms=arms, split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=32), runs=str(tmp_path / "runs"), seeds=(0,)
    )
    whole = Manifest.concat(*parts)
    contents = {image: image for image in whole.table["image_id"]}
    images = Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=whole, contents=contents)
    return config, images, Split(*parts)


def planned(study, **changes):
    config, images, split = study
    return folder_images(dataclasses.replace(config, **changes), images, split, split.train)["theirs"]


def quiet(done, total, note=""):
    pass


def test_the_arm_is_filled_to_the_counts_of_the_others(study):
    given = planned(study)
    given.step(quiet)
    config, _, split = study
    table = compose("synthetic", split.train, given.read(), ("df",))
    assert table.counts() == compose("oversampled", split.train, None, ("df",)).counts()
    assert counts_by_source(table)["df"] == {"real": 2, "repeated": 0, "synthetic": 3}
    record = read_json(given.step.target / "elsewhere.json")
    assert record == {"images": 3, "different": 3, "seen": None, "copies_of_train": []}
    assert steps_of(config) == 4 + 1 + 3


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_copy_of_what_judges_the_classifier_is_refused(study, tmp_path, name):
    photograph = Image.open(tmp_path / "real" / f"{name}-nv-3.png")
    photograph.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "made" / "df" / "1.png")
    with pytest.raises(DataError, match=rf"1\.png: shows nearly the same as {name}-nv-3 of the {name} part \(1 such"):
        planned(study).step(quiet)


def test_a_copy_of_an_image_that_was_left_out_for_the_test_part_is_refused(study, tmp_path):
    config, images, split = study
    left_out, kept = "train-nv-3", split.train.table["image_id"] != "train-nv-3"
    shutil.copy(tmp_path / "real" / f"{left_out}.png", tmp_path / "made" / "df" / "1.png")
    official = Split(split.train.where(kept), split.validation, split.test, frozenset({left_out}))
    with pytest.raises(DataError, match=r"1\.png: shows nearly the same as train-nv-3 of the left-out part"):
        planned((config, images, official)).step(quiet)


def test_an_image_made_elsewhere_that_would_start_a_program_is_refused_and_starts_none(study, tmp_path, eps):
    (tmp_path / "made" / "df" / "1.png").rename(tmp_path / "1.png")
    (tmp_path / "made" / "df" / "1.jpg").write_bytes(eps)
    with pytest.raises(DataError, match=r"df/1\.jpg: not an image of a format that is read \(JPEG, "):
        planned(study).step(quiet)


def test_a_folder_that_was_moved_is_not_looked_over_again(study, tmp_path):
    given = planned(study)
    shutil.move(tmp_path / "made", tmp_path / "moved")
    arms = ("real", "oversampled", FolderArm(folder=str(tmp_path / "moved"), name="theirs"))
    assert planned(study, arms=arms).step.digest == given.step.digest


def test_a_copy_of_a_training_image_is_counted(study, tmp_path):
    shutil.copy(tmp_path / "real" / "train-df-0.png", tmp_path / "made" / "df" / "1.png")
    shutil.copy(tmp_path / "real" / "train-df-0.png", tmp_path / "made" / "df" / "2.png")
    given = planned(study)
    given.step(quiet)
    record = read_json(given.step.target / "elsewhere.json")
    assert [photograph for _, photograph in record["copies_of_train"]] == ["train-df-0"] * 2
    assert (record["images"], record["different"]) == (3, 2)


def drawn_here(tmp_path, **seen):
    """A folder whose record says what its generator has seen."""
    write_json(tmp_path / "made" / "generation.json", {"seen": {"group_ids": [], "image_ids": [], **seen}})


def test_a_folder_of_this_program_s_own_brings_what_its_generator_has_seen(study, tmp_path):
    drawn_here(tmp_path, group_ids=["train-df-0", "train-df-1"])
    given = planned(study)
    given.step(quiet)
    assert read_json(given.step.target / "elsewhere.json")["seen"] == ["train-df-0", "train-df-1"]
    called_otherwise = {"group_ids": ["called otherwise"]}
    for seen in (
        {"group_ids": ["test-df-0"]},
        {**called_otherwise, "image_ids": ["test-df-0"]},
        {**called_otherwise, "lesion_ids": ["lesion-test-df-0"]},
    ):
        drawn_here(tmp_path, **seen)
        with pytest.raises(DataError, match=r"generator of .*made has seen 1 leakage groups of the test part"):
            planned(study).step(quiet)


def test_a_folder_drawn_from_a_base_of_unknown_training_is_of_unknown_lineage(study, tmp_path):
    drawn_here(tmp_path, group_ids=["train-df-0"], base="unknown")
    given = planned(study)
    given.step(quiet)
    assert read_json(given.step.target / "elsewhere.json")["seen"] is None
    drawn_here(tmp_path, group_ids=["test-df-0"], base="unknown")
    with pytest.raises(DataError, match="has seen 1 leakage groups of the test part"):
        planned(study).step(quiet)


def test_an_image_that_cannot_be_read_is_refused_before_any_training(study, tmp_path):
    (tmp_path / "made" / "df" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.png: not an image of a format that is read"):
        planned(study).step(quiet)


def test_other_images_redo_the_arm_that_trains_on_them_and_no_other(study, tmp_path):
    config, images, split = study

    def digests():
        given = planned(study)
        return {
            arm: arm_step(config, images, split, split.train, arm, 0, {}, given if arm == "theirs" else None).digest
            for arm in config.arm_names
        }

    before = digests()
    picture(tmp_path / "made" / "df" / "1.png", 777)
    after = digests()
    assert {arm for arm in before if before[arm] != after[arm]} == {"theirs"}
