"""Images made by another program fill an arm up to the same counts, and none copies a validation or test image."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classify.arms import ARMS, compose, counts_by_source
from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.sources.external import ExternalArm
from data.splits.split import Split, SplitConfig
from data.store import read_json, write_json
from flows.execute import run_group
from flows.stages import external
from flows.stages.table import make_plan
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
def split(tmp_path):
    for i in range(3):
        picture(tmp_path / "made" / "df" / f"{i}.png", 900 + i)
    return Split(*(part(tmp_path / "real", name, 100 * k) for k, name in enumerate(("train", "validation", "test"))))


@pytest.fixture
def plan_of(split, prepare_study, tmp_path):
    """The plan of a study with one folder arm of three images, which the rare class needs."""

    def plan(split=split, folder=tmp_path / "made"):
        study = StudyConfig(
            arms=("real", "oversampled", ExternalArm(folder=str(folder), name="theirs")),
            split=SplitConfig(rare=("df",)), pixels=PixelConfig(size=32), output_dir=str(tmp_path / "runs"), seeds=(0,),
        )  # fmt: skip
        return make_plan(prepare_study(study, split))

    return plan


def made(plan):
    """What the step wrote about the images."""
    step = plan.step("external", "theirs")
    run_group(plan, (step,), lambda *_: None)
    return read_json(step.target / "external.json")


def test_the_arm_is_filled_to_the_counts_of_the_others(plan_of):
    plan = plan_of()
    assert made(plan) == {"images": 3, "different": 3, "seen": None, "copies_of_train": []}
    arm, prepared = plan.prepared.study.arm_table["theirs"], plan.prepared
    table = compose(arm, prepared.train, external.read_images(plan, "theirs"), prepared.fill_counts)
    assert table.counts() == compose(ARMS["oversampled"], prepared.train, None, prepared.fill_counts).counts()
    assert counts_by_source(table)["df"] == {"real": 2, "repeated": 0, "synthetic": 3}


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_copy_of_a_validation_or_test_image_is_refused(plan_of, tmp_path, name):
    photograph = Image.open(tmp_path / "real" / f"{name}-nv-3.png")
    photograph.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "made" / "df" / "1.png")
    with pytest.raises(DataError, match=rf"1\.png.* shows nearly the same as {name}-nv-3 of the {name} part"):
        made(plan_of())


def test_a_copy_of_an_image_that_was_left_out_for_the_test_part_is_refused(plan_of, split, tmp_path, prepare_study):
    left_out, kept = "train-nv-3", split.train.table["image_id"] != "train-nv-3"
    shutil.copy(tmp_path / "real" / f"{left_out}.png", tmp_path / "made" / "df" / "1.png")
    official = Split(split.train.where(kept), split.validation, split.test, frozenset({left_out}))
    plan = plan_of(official)
    whole = dataclasses.replace(
        plan.prepared.images,
        manifest=Manifest.concat(*split.parts().values()),
        contents={image: image for part in split.parts().values() for image in part.table["image_id"]},
    )
    plan = make_plan(dataclasses.replace(plan.prepared, images=whole))
    with pytest.raises(DataError, match=r"1\.png.* shows nearly the same as train-nv-3 of the left-out part"):
        made(plan)


def test_an_external_image_that_would_start_a_program_is_refused_and_starts_none(plan_of, tmp_path, eps):
    (tmp_path / "made" / "df" / "1.png").rename(tmp_path / "1.png")
    (tmp_path / "made" / "df" / "1.jpg").write_bytes(eps)
    with pytest.raises(DataError, match=r"df/1\.jpg: not an image of a format that is read \(JPEG, "):
        made(plan_of())


def test_a_folder_that_was_moved_is_not_looked_over_again(plan_of, tmp_path):
    before = plan_of().step("external", "theirs").digest
    shutil.move(tmp_path / "made", tmp_path / "moved")
    assert plan_of(folder=tmp_path / "moved").step("external", "theirs").digest == before


def test_a_copy_of_a_training_image_is_counted(plan_of, tmp_path):
    for name in ("1.png", "2.png"):
        shutil.copy(tmp_path / "real" / "train-df-0.png", tmp_path / "made" / "df" / name)
    record = made(plan_of())
    assert [photograph for _, photograph in record["copies_of_train"]] == ["train-df-0"] * 2
    assert (record["images"], record["different"]) == (3, 2)


def drawn_here(tmp_path, **seen):
    """A folder whose record says what its generator has seen."""
    ids = {"group_ids": [], "image_ids": [], "lesion_ids": [], "patient_ids": [], "is_complete": True}
    write_json(tmp_path / "made" / "generation.json", {"provenance": {**ids, **seen}})


def test_a_folder_of_this_program_s_own_brings_what_its_generator_has_seen(plan_of, tmp_path):
    drawn_here(tmp_path, group_ids=["train-df-0", "train-df-1"])
    assert made(plan_of())["seen"] == ["train-df-0", "train-df-1"]
    for seen in (
        {"group_ids": ["test-df-0"]},
        {"group_ids": ["called otherwise"], "image_ids": ["test-df-0"]},
        {"group_ids": ["called otherwise"], "lesion_ids": ["lesion-test-df-0"]},
    ):
        drawn_here(tmp_path, **seen)
        with pytest.raises(DataError, match=r"generator of .*made has seen 1 leakage groups of the test part"):
            made(plan_of())


def test_a_choice_by_eye_is_recorded_and_a_change_of_it_checks_the_arm_anew(plan_of, tmp_path):
    before = plan_of().step("external", "theirs").digest
    assert "by_hand" not in made(plan_of())
    choices = {"classes": {"df": {"accepted": 3, "rejected": 9}, "vasc": {"accepted": 1, "rejected": 0}}}
    write_json(tmp_path / "made" / "choices.json", choices)
    assert plan_of().step("external", "theirs").digest != before
    assert made(plan_of())["by_hand"] == {"accepted": 4, "rejected": 9}


@pytest.mark.parametrize("text", ["[]", "{", '{"classes": {"df": {}}}'])
def test_a_choice_by_eye_that_cannot_be_read_does_not_pass_in_silence(plan_of, tmp_path, text):
    (tmp_path / "made" / "choices.json").write_text(text)
    with pytest.raises(DataError, match=r"choices\.json: is not as the page wrote it"):
        plan_of()


def test_a_folder_drawn_with_a_base_of_unknown_training_is_of_unknown_provenance(plan_of, tmp_path):
    drawn_here(tmp_path, group_ids=["train-df-0"], is_complete=False)
    assert made(plan_of())["seen"] is None
    drawn_here(tmp_path, group_ids=["test-df-0"], is_complete=False)
    with pytest.raises(DataError, match="has seen 1 leakage groups of the test part"):
        made(plan_of())


def test_an_image_that_cannot_be_read_is_refused_before_any_training(plan_of, tmp_path):
    (tmp_path / "made" / "df" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.png: not an image of a format that is read"):
        made(plan_of())


def test_other_images_redo_the_arm_that_trains_on_them_and_no_other(plan_of, tmp_path):
    before = plan_of()
    picture(tmp_path / "made" / "df" / "1.png", 777)
    after = {step.id: step.digest for step in plan_of().steps}
    changed = {step.id for step in before.steps if after[step.id] != step.digest}
    assert changed == {"external theirs", "arm theirs 0"}
