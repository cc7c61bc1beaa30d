"""Which photographs of the train part choose a step, which measure the generator, and that they are never the shots."""

import dataclasses

import pytest

from augment.base.config import BaseConfig, OwnBaseConfig
from augment.methods.lora import LoraConfig
from data.manifest import Manifest
from data.splits.split import Split, SplitConfig
from flows import held_back
from flows.study import StudyConfig

RARE = SplitConfig(rare=("df", "vasc"), shots=4)
CHOOSING = LoraConfig(select_every=10)


@pytest.fixture
def prepared_of(make_split, prepare_study, tmp_path):
    """A study whose train part has 44 dermatofibromas, of which two show one lesion, and 10 vascular lesions."""
    parts = make_split(drawn=False, nv=50, df=44, vasc=10)
    table = parts.train.table
    same = table["image_id"].isin(["train-df-0", "train-df-1"])
    train = Manifest(table.assign(group_id=table["group_id"].mask(same, "twice")), parts.train.roots)
    split = Split(train, parts.validation, parts.test)

    def prepared(**changes):
        return prepare_study(StudyConfig(**{"split": RARE, "output_dir": str(tmp_path), **changes}), split)

    return prepared


def ids(manifest, column="group_id"):
    return list(manifest.table[column])


def test_unseen_photographs_are_of_other_groups_than_the_shots_and_one_of_each(prepared_of):
    prepared = prepared_of()
    found, shots = held_back.unseen(prepared, "df"), prepared.shots["df"]
    assert len(found) == len(set(ids(found))) == 43 - len(set(ids(shots)))
    assert not set(ids(found)) & set(ids(shots))
    assert set(found.table["label"]) == {"df"}
    assert set(ids(found, "image_id")) <= set(prepared.split.train.table["image_id"])
    assert ids(found) == ids(held_back.unseen(prepared, "df"))
    assert ids(found) != sorted(ids(found))


def test_an_own_base_that_was_trained_on_them_leaves_none(prepared_of):
    rare_left_out = BaseConfig(source="pretrain")
    rare_too = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(classes=("df", "nv")))
    found = [len(held_back.unseen(prepared_of(base=base), "df")) for base in (BaseConfig(), rare_left_out, rare_too)]
    assert found[0] == found[1] > 30
    assert found[2] == 0


def test_half_choose_and_the_others_measure(prepared_of):
    prepared = prepared_of(finetune=CHOOSING)
    choose, measure = held_back.choosing(prepared, "df"), held_back.measuring(prepared, "df")
    free = held_back.unseen(prepared, "df")
    assert (len(choose), len(choose) + len(measure)) == (len(free) // 2, len(free))
    assert set(ids(choose)) | set(ids(measure)) == set(ids(free))
    assert ids(held_back.trained_on(prepared, "df")) == ids(prepared.shots["df"])


def test_without_a_choice_all_measure(prepared_of):
    prepared = prepared_of()
    assert len(held_back.choosing(prepared, "df")) == 0
    assert ids(held_back.measuring(prepared, "df")) == ids(held_back.unseen(prepared, "df"))


def test_too_few_choose_nothing_and_it_is_said(prepared_of):
    prepared = prepared_of(finetune=CHOOSING)
    assert len(held_back.unseen(prepared, "vasc")) == 6
    assert len(held_back.choosing(prepared, "vasc")) == 0
    assert held_back.why_none(prepared, "vasc") == (
        "6 other lesions of its train part are too few, 16 are needed: half of them choose"
    )


def test_what_is_held_back_from_the_classifier_measures_and_never_chooses(prepared_of):
    limited = dataclasses.replace(RARE, limit_real_to_shots=True)
    prepared = prepared_of(split=limited, finetune=CHOOSING)
    assert len(held_back.choosing(prepared, "df")) == 0
    assert len(held_back.measuring(prepared, "df")) > 30
    assert "what the shots alone are worth" in held_back.why_none(prepared, "df")


def test_shots_that_choose_are_not_trained_on(prepared_of):
    many = dataclasses.replace(RARE, shots=20, limit_real_to_shots=True)
    prepared = prepared_of(split=many, finetune=dataclasses.replace(CHOOSING, select_shots=8))
    choose, train = held_back.choosing(prepared, "df"), held_back.trained_on(prepared, "df")
    shots = prepared.shots["df"]
    assert (len(choose), len(train)) == (8, len(shots) - 8)
    assert set(ids(choose, "image_id")) | set(ids(train, "image_id")) == set(ids(shots, "image_id"))
    assert held_back.origin(prepared) == "shots that are not trained on"
    assert ids(held_back.measuring(prepared, "df")) == ids(held_back.unseen(prepared, "df"))
    assert len(held_back.choosing(prepared, "vasc")) == 8


def test_shots_are_not_held_out_where_too_few_would_be_left(prepared_of):
    prepared = prepared_of(finetune=dataclasses.replace(CHOOSING, select_shots=3))
    assert len(held_back.choosing(prepared, "df")) == 0
    assert ids(held_back.trained_on(prepared, "df")) == ids(prepared.shots["df"])
    assert "of its 4 shots none can be held out" in held_back.why_none(prepared, "df")


WATCHED = LoraConfig(held_out_every=10)


def test_the_held_out_loss_is_of_photographs_that_then_measure_nothing(prepared_of):
    prepared = prepared_of(finetune=WATCHED)
    watched, measure = held_back.held_out(prepared, "df"), held_back.measuring(prepared, "df")
    free = held_back.unseen(prepared, "df")
    assert len(watched) == len(free) // 2
    assert set(ids(watched)) | set(ids(measure)) == set(ids(free))
    assert not set(ids(watched)) & set(ids(measure))
    assert ids(held_back.trained_on(prepared, "df")) == ids(prepared.shots["df"])


def test_what_chooses_a_step_has_the_held_out_loss_too(prepared_of):
    prepared = prepared_of(finetune=dataclasses.replace(WATCHED, select_every=10))
    assert ids(held_back.held_out(prepared, "df")) == ids(held_back.choosing(prepared, "df"))
    assert ids(held_back.measuring(prepared, "df")) == ids(held_back.measuring(prepared_of(finetune=CHOOSING), "df"))


def test_without_photographs_to_spare_there_is_no_held_out_loss_and_it_is_said(prepared_of):
    few = prepared_of(finetune=WATCHED)
    assert len(held_back.held_out(few, "vasc")) == 0
    assert held_back.why_no_loss(few, "vasc") == (
        "6 other lesions of its train part are too few, 16 are needed: half are held out"
    )
    limited = prepared_of(finetune=WATCHED, split=dataclasses.replace(RARE, limit_real_to_shots=True))
    assert len(held_back.held_out(limited, "df")) == 0
    assert "so no other photograph is looked at" in held_back.why_no_loss(limited, "df")
    chosen = prepared_of(finetune=dataclasses.replace(WATCHED, select_every=10))
    assert held_back.why_no_loss(chosen, "vasc") == held_back.why_none(chosen, "vasc")
