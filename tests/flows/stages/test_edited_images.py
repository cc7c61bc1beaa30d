"""Images that are edited from photographs: whose, in which leakage group, and what they depend on."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from augment.generate.config import GenerateConfig
from augment.generate.edit_config import EditConfig
from data.config import parse
from data.errors import ConfigError, DataError
from data.manifest import Manifest
from data.splits.split import Split, SplitConfig
from data.store import write_text
from flows.stages import images as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path):
    split = make_split(drawn=False, nv=6, mel=4, df=3)

    def plan(edit=None, contents=None, **changes):
        study = StudyConfig(
            split=SplitConfig(rare=("df",), shots=2), fill_to=6, output_dir=str(tmp_path),
            generate=GenerateConfig(edit=edit), **changes,
        )  # fmt: skip
        return make_plan(prepare_study(study, split, contents))

    return plan


def write_edited(plan, source, group):
    folder = plan.target("images", "df")
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / "df-000000.png")
    header = "file_name,label,adapter,seed,source_image,source_group,source_label,strength"
    row = f"images/df-000000.png,df,{'ab' * 32},7,{source},{group},df,0.5"
    write_text(folder / "metadata.csv", f"{header}\n{row}\n")


def test_images_are_edited_from_the_class_s_shots_or_from_all_other_classes(plan_of):
    own = stage.sources_of(plan_of(EditConfig()).prepared, "df").photographs
    assert own.table["image_id"].tolist() == plan_of().prepared.shots["df"].table["image_id"].tolist()
    other = stage.sources_of(plan_of(EditConfig(source="other")).prepared, "df").photographs
    assert other.counts() == {"mel": 4, "nv": 6}
    assert stage.sources_of(plan_of().prepared, "df") is None


def test_edits_and_the_bytes_of_their_photographs_change_the_images_digest(plan_of):
    plain, edit = plan_of(), plan_of(EditConfig())
    assert "sources" not in plain.step("images", "df").inputs
    others = {image: image for image in edit.prepared.images.manifest.table["image_id"]}
    changed = others | dict.fromkeys(edit.prepared.shots["df"].table["image_id"], "changed")
    digests = {plan.step("images", "df").digest for plan in (plain, edit, plan_of(EditConfig(), changed))}
    assert len(digests) == 3


def test_a_mask_that_is_missing_is_said_before_any_work(plan_of, tmp_path):
    with pytest.raises(DataError, match="2 images have no mask, first train-df-"):
        plan_of(EditConfig(mode="inpaint", masks=str(tmp_path)))


def test_an_edited_image_is_in_its_source_s_leakage_group(plan_of):
    plan = plan_of(EditConfig())
    write_edited(plan, "train-df-1", "train-df-1")
    (group,) = stage.read_images(plan).table["group_id"]
    assert group == "train-df-1"


@pytest.mark.parametrize(("source", "group"), [("test-df-1", "test-df-1"), ("train-df-1", "train-df-2"), ("x", "x")])
def test_an_image_that_was_edited_from_outside_the_train_part_is_refused(plan_of, source, group):
    plan = plan_of(EditConfig())
    write_edited(plan, source, group)
    with pytest.raises(DataError, match=f"edited from: 1 are not in the train part, first .'{source}'"):
        stage.read_images(plan)


def test_a_photograph_outside_the_train_part_is_refused_before_any_work(plan_of):
    prepared = plan_of(EditConfig()).prepared
    split = prepared.split
    moved = Split(split.train.where(split.train.table["image_id"] != "train-df-0"), split.validation, split.test)
    few = dataclasses.replace(prepared, split=moved)
    vars(few)["shots"] = {"df": Manifest(split.train.of("df").table, split.train.roots)}
    with pytest.raises(DataError, match="photographs that images of 'df' are edited from: 1 are not in the train part"):
        stage.sources_of(few, "df")


def test_where_everything_is_coded_no_part_of_a_photograph_may_be_pasted(plan_of):
    with pytest.raises(ValueError, match="what inpaint keeps of a photograph has not; set coding: mixed"):
        plan_of(EditConfig(mode="inpaint"), coding="all")
    assert plan_of(EditConfig(), coding="all").steps_of("images")


def test_an_error_of_the_config_is_one_line():
    with pytest.raises(ConfigError, match=r"^study: generate: edit: sampler lms cannot start midway"):
        parse(StudyConfig, {"generate": {"sampler": "lms", "edit": {}}}, "study")


def test_the_config_of_the_page_on_editing_can_be_read():
    page = Path(__file__).parents[3] / "docs" / "editing.md"
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    edit = parse(StudyConfig, yaml.safe_load(block), "editing").generate.edit
    assert (edit.mode, edit.chosen_strengths) == ("inpaint", EditConfig().chosen_strengths)
    assert (edit.grow_mask, edit.mask_blur) == (EditConfig().grow_mask, EditConfig().mask_blur)
