"""A whole study whose synthetic images are edited from photographs."""

import shutil

import pytest

from data.manifest import read_table
from flows.augment_and_evaluate import main
from flows.study import load_study

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EDIT = ("generate.edit={mode: inpaint, source: other, strengths: [0.5, 1]}", "classifier.soft_labels=true")


@pytest.mark.slow
def test_edits_of_a_study_are_tied_to_photographs_of_its_train_part_and_made_anew_alike(small_study):
    command = [*small_study, "name=edited", "arms=[real, synthetic]", "coding=mixed", *EDIT]
    assert main(command) == 0
    folder = load_study(command[0], command[1:]).folder
    (split,), (images,) = folder.glob("split-*"), folder.glob("images/df-*")
    train, made = read_table(split / "train.csv"), read_table(images / "metadata.csv")
    groups = dict(zip(train["image_id"], train["group_id"], strict=True))
    assert [groups[image] for image in made["source_image"]] == made["source_group"].tolist()
    assert "df" not in set(made["source_label"])
    assert set(made["strength"]) == {"0.5", "1.0"}
    before = {path.name: path.read_bytes() for path in (images / "images").iterdir()}
    shutil.rmtree(images)
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in (images / "images").iterdir()} == before
