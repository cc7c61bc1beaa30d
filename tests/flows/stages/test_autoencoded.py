"""The coding of real images: a step a class of which some arm needs coded images, and of which images."""

import dataclasses

import pytest

from augment.base.config import BaseConfig
from augment.generate.autoencoded import autoencoded_image_bytes
from augment.generate.config import GenerateConfig
from augment.methods.lora import LoraConfig
from data.pixels import PixelConfig
from data.splits.split import SplitConfig
from data.store import write_text
from flows.stages import autoencoded as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig

RARE = SplitConfig(rare=("df", "vasc"), shots=2)


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path):
    split = make_split(drawn=False, nv=8, mel=6, df=3, vasc=2)

    def plan(**changes):
        arms, folder = ("real", "autoencoded"), str(tmp_path)
        chosen = {"split": RARE, "fill_to": 6, "arms": arms, "coding": "none", "output_dir": folder, **changes}
        return make_plan(prepare_study(StudyConfig(**chosen), split))

    return plan


def steps(plan):
    return plan.steps_of("autoencoded")


def test_a_class_is_coded_if_some_arm_trains_on_that_and_it_lacks_images(plan_of):
    assert [step.what for step in steps(plan_of())] == ["df", "vasc"]
    assert [step.what for step in steps(plan_of(fill_to=3))] == ["vasc"]
    assert steps(plan_of(arms=("real", "oversampled"))) == ()


@pytest.mark.parametrize("arms", [("real", "autoencoded"), ("real", "synthetic"), ("real", "synthetic-only")])
def test_every_class_is_coded_where_coding_is_mixed_and_some_arm_uses_the_base(plan_of, arms):
    for coding in ("mixed", "all"):
        assert [step.what for step in steps(plan_of(coding=coding, arms=arms))] == ["df", "mel", "nv", "vasc"]
    assert steps(plan_of(coding="none", arms=("real", "synthetic"))) == ()


def test_nothing_is_coded_where_no_arm_uses_the_base(plan_of):
    for coding in ("mixed", "all", "none"):
        for changes in ({"arms": ("real", "oversampled", "real@2", "mixup")}, {"fill_to": 1}):
            plan = plan_of(coding=coding, **changes)
            assert steps(plan) == plan.steps_of("probe") == ()
            assert plan.prepared.coding == "none"


def test_each_arm_waits_for_the_coded_images_of_every_class(plan_of):
    plan = plan_of(coding="mixed", arms=("real", "oversampled", "synthetic"))
    coded = {step.id for step in steps(plan)}
    assert all(coded < set(plan.step("arm", name, "0").needs) for name in plan.prepared.study.arm_names)


def test_each_real_image_is_counted_once_on_the_disk(plan_of):
    pixels = PixelConfig(size=32)
    disk = {step.what: step.disk for step in steps(plan_of(pixels=pixels))}
    assert {what: use.kept for what, use in disk.items()} == {
        "df": 3 * autoencoded_image_bytes(pixels),
        "vasc": 2 * autoencoded_image_bytes(pixels),
    }
    assert disk["df"].pixel_sizes == (32,)


def test_another_base_or_another_form_makes_them_anew_and_another_fine_tune_or_fill_does_not(plan_of):
    def digests(**changes):
        return [step.digest for step in steps(plan_of(**changes))]

    before = digests()
    for same in ({"finetune": LoraConfig(steps=7)}, {"fill_to": 9}, {"study_seeds": (1,)}):
        assert digests(**same) == before
    others = {"base": BaseConfig(source="owner/name")}, {"pixels": PixelConfig(size=32)}
    for other in others:
        assert not set(digests(**other)) & set(before)


def test_another_format_of_the_synthetic_images_makes_them_anew(plan_of):
    before = [step.digest for step in steps(plan_of())]
    for written in (GenerateConfig(format="png"), GenerateConfig(jpeg_quality=80)):
        assert not set(before) & {step.digest for step in steps(plan_of(generate=written))}
    faster = GenerateConfig(batch_size=2)
    assert [step.digest for step in steps(plan_of(generate=faster))] == before


def coded_part(plan, label, folder, monkeypatch):
    """What the step of a class gives to the autoencoder."""
    asked = []
    monkeypatch.setattr(stage, "autoencode", lambda **given: asked.append(given))
    stage.make(plan, plan.step("autoencoded", label), folder / "made", None)
    return asked[0]["part"]


def test_under_mixed_coding_train_images_of_a_class_are_coded_up_to_a_number(plan_of, tmp_path, monkeypatch):
    plan = plan_of(coding="mixed", split=dataclasses.replace(RARE, limit_real_to_shots=True))
    part = coded_part(plan, "df", tmp_path, monkeypatch)
    assert part.digest() == plan.prepared.split.train.of("df").digest()  # for arms of more photographs than shots, too
    monkeypatch.setattr(stage, "_MOST", 4)
    plan = plan_of(coding="mixed")
    part = coded_part(plan, "nv", tmp_path, monkeypatch)
    assert part.counts() == {"nv": 4}
    assert set(part.table["image_id"]) < set(plan.prepared.split.train.table["image_id"])


def test_where_all_is_coded_the_test_part_is_left_to_the_classifier_s_own_coder(plan_of, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_MOST", 1)
    part = coded_part(plan_of(coding="all"), "nv", tmp_path, monkeypatch)
    names = part.table["image_id"].str.partition("-")[0].value_counts().to_dict()
    assert names == {"train": 8, "validation": 8}


@pytest.mark.parametrize(("limited", "seen"), [(False, 3), (True, 2)])
def test_what_is_coded_is_what_the_classifiers_see_of_the_class(plan_of, tmp_path, monkeypatch, limited, seen):
    asked = []
    monkeypatch.setattr(stage, "autoencode", lambda **given: asked.append(given))
    plan = plan_of(split=dataclasses.replace(RARE, limit_real_to_shots=limited))
    stage.make(plan, plan.step("autoencoded", "df"), tmp_path / "made", None)
    (given,) = asked
    assert given["part"].counts() == {"df": seen}
    assert set(given["part"].table["image_id"]) <= set(plan.prepared.train.table["image_id"])
    assert (given["base"], given["pixels"]) == (plan.base, plan.prepared.study.pixels)
    assert given["written"] == plan.prepared.study.generate
    assert (given["out"], given["cache"]) == (tmp_path / "made", plan.prepared.study.cache)


def test_the_images_of_all_classes_are_read_back_as_one_manifest(plan_of):
    assert stage.read_images(plan_of(arms=("real",))) is None
    plan = plan_of()
    for step in steps(plan):
        rows = f"file_name,label,source_id,group_id\nimages/0.png,{step.what},a-{step.what},g-{step.what}\n"
        write_text(step.target / "metadata.csv", rows)
    read = stage.read_images(plan)
    assert read.table["label"].tolist() == ["df", "vasc"]
    assert read.table["group_id"].tolist() == ["g-df", "g-vasc"]
    assert read.paths() == [step.target / "images" / "0.png" for step in steps(plan)]
