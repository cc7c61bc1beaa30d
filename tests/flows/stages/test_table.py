"""Which steps a study has, in which order, what each needs, and what a change of the config makes anew."""

import dataclasses
import pickle

import pandas as pd
import pytest

from augment.base.config import BaseConfig
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.lora import LoraConfig
from data.sources.external import ExternalArm
from data.splits.split import SplitConfig
from flows.stages.table import STAGES, make_plan
from flows.study import StudyConfig

RARE = SplitConfig(rare=("df", "vasc"), shots=2)


@pytest.fixture
def split(make_split):
    return make_split(drawn=False, nv=8, mel=6, df=3, vasc=2)


@pytest.fixture
def plan_of(prepare_study, split, tmp_path):
    def plan(contents=None, **changes):
        given = {"split": RARE, "seeds": (0,), "fidelity": False, "output_dir": str(tmp_path / "runs"), **changes}
        study = StudyConfig(**given)
        return make_plan(prepare_study(study, split, contents))

    return plan


def ids(plan):
    return [step.id for step in plan.steps]


def groups(plan):
    return [[step.id for step in steps] for steps in plan.groups()]


CLASSES = ["df", "vasc"]
CODED = [f"autoencoded {label}" for label in ("df", "mel", "nv", "vasc")]
ARMS = ["arm real 0", "arm oversampled 0", "arm synthetic 0"]


def test_a_study_fine_tunes_each_rare_class_draws_its_images_and_trains_each_arm(plan_of):
    plan = plan_of(coding="none")
    assert ids(plan) == ["fine-tune df", "fine-tune vasc", "images df", "images vasc", "probe", *ARMS]
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["images df"] == ("fine-tune df",)
    assert needs["arm synthetic 0"] == ("images df", "images vasc", "probe")
    assert needs["arm real 0"] == needs["arm oversampled 0"] == ("probe",)
    assert needs["fine-tune df"] == needs["probe"] == ()


def test_a_study_of_mixed_coding_codes_photographs_of_every_class_for_every_arm(plan_of):
    plan = plan_of()
    assert ids(plan) == ["fine-tune df", "fine-tune vasc", "images df", "images vasc", *CODED, "probe", *ARMS]
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["arm synthetic 0"] == ("images df", "images vasc", *CODED, "probe")
    assert needs["arm real 0"] == needs["arm oversampled 0"] == (*CODED, "probe")
    assert all(needs[step] == () for step in CODED)


def test_another_coding_makes_every_arm_anew_and_no_generator(plan_of):
    for coding in ("none", "all"):
        before, after = plan_of(), plan_of(coding=coding)
        digests = {step.id: step.digest for step in after.steps}
        assert {step.id for step in before.steps if digests.get(step.id) == step.digest} >= {*FINE_TUNES, *IMAGES}
        assert all(digests[step] != before.step("arm", *step.split()[1:]).digest for step in ARMS)
    arms = ("real", "oversampled")
    assert not changed(plan_of(arms=arms), plan_of(arms=arms, coding="none"))  # no arm uses the base


def test_each_stage_of_the_table_has_a_step_in_some_study_and_none_has_another(plan_of, tmp_path):
    from PIL import Image

    for label in CLASSES:
        (tmp_path / "theirs" / label).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (16, 16), (9 * i, 99, 9)).save(tmp_path / "theirs" / label / f"{i}.png")
    arms = ("real", "synthetic", "gated", "autoencoded", ExternalArm(folder=str(tmp_path / "theirs"), name="theirs"))
    plan = plan_of(base=BaseConfig(source="pretrain"), arms=arms, random_split=True, fidelity=True)
    assert {step.stage for step in plan.steps} == STAGES.keys()


def test_a_study_without_an_arm_that_trains_on_them_makes_no_images(plan_of):
    assert ids(plan_of(arms=("real", "oversampled"))) == ARMS[:2]


def test_every_step_comes_after_those_that_it_needs(plan_of):
    plan = plan_of(
        base=BaseConfig(source="pretrain"), arms=("real", "oversampled", "autoencoded", "synthetic"), random_split=True
    )
    order = ids(plan)
    assert all(order.index(need) < order.index(step.id) for step in plan.steps for need in step.needs)
    assert len(set(order)) == len(order)
    assert order[0] == "base from tiny"
    assert order[-1] == "random split seed 0, not to be believed"


def test_classes_share_a_piece_of_work_where_one_batch_can_hold_them(plan_of):
    assert groups(plan_of())[0] == ["fine-tune df", "fine-tune vasc"]
    for method in (LoraConfig(text_encoder=True), DreamBoothConfig()):
        assert groups(plan_of(finetune=method))[:2] == [["fine-tune df"], ["fine-tune vasc"]]


def test_how_many_classes_a_batch_holds_redoes_nothing(plan_of):
    one, two = (plan_of(finetune=LoraConfig(max_classes_per_batch=n)).digest for n in (1, 2))
    assert one == two == plan_of().digest


def test_an_own_base_is_known_by_its_step_before_it_is_trained(plan_of):
    plan = plan_of(base=BaseConfig(source="pretrain"))
    own = plan.step("base")
    assert plan.base == BaseConfig(source=str(own.target))
    assert plan.step("finetune", "df").inputs["base"] == {"own": own.digest}
    assert plan.step("finetune", "df").needs == (own.id,)


def test_an_own_base_that_no_arm_needs_is_not_trained(plan_of):
    assert "base" not in {step.stage for step in plan_of(base=BaseConfig(source="pretrain"), arms=("real",)).steps}


def test_the_autoencoded_arm_needs_no_fine_tune(plan_of):
    plan = plan_of(arms=("real", "oversampled", "autoencoded"), coding="none")
    assert ids(plan) == ["autoencoded df", "autoencoded vasc", "probe", *ARMS[:2], "arm autoencoded 0"]
    assert plan.step("arm", "autoencoded", "0").needs == ("autoencoded df", "autoencoded vasc", "probe")


def test_a_class_that_is_full_already_gets_no_images(plan_of):
    plan = plan_of(fill_to=3)
    assert ids(plan) == ["fine-tune vasc", "images vasc", *CODED, "probe", *ARMS]


def changed(before, after):
    digests = {step.id: step.digest for step in after.steps}
    return {step.id for step in before.steps if digests[step.id] != step.digest}


FINE_TUNES, IMAGES = {f"fine-tune {label}" for label in CLASSES}, {f"images {label}" for label in CLASSES}


def test_a_change_of_the_classifier_redoes_no_fine_tune_and_no_images(plan_of):
    classifier = dataclasses.replace(StudyConfig().classifier, steps=7)
    assert changed(plan_of(), plan_of(classifier=classifier)) == set(ARMS)


def test_a_change_of_the_fine_tune_redoes_what_comes_of_it_alone(plan_of):
    assert changed(plan_of(), plan_of(finetune=LoraConfig(steps=7))) == {*FINE_TUNES, *IMAGES, "arm synthetic 0"}


def test_a_change_of_the_fill_leaves_the_fine_tune_and_the_real_arm(plan_of):
    assert changed(plan_of(), plan_of(fill_to=9)) == {*IMAGES, "arm oversampled 0", "arm synthetic 0"}


def test_what_only_changes_speed_redoes_nothing(plan_of):
    study = StudyConfig()
    generate = dataclasses.replace(study.generate, batch_size=3, vae_batch_size=2)
    classifier = dataclasses.replace(study.classifier, threads=1)
    assert not changed(plan_of(), plan_of(generate=generate, classifier=classifier))


def test_an_image_whose_bytes_changed_redoes_what_depends_on_it(plan_of):
    plan = plan_of()
    contents = {**plan.prepared.images.contents, "test-nv-0": "other"}
    assert changed(plan, plan_of(contents)) == {"probe", *ARMS}
    contents = {**plan.prepared.images.contents, "test-df-0": "other"}
    assert changed(plan, plan_of(contents)) == set(ARMS)  # the probe has no rare class
    few = plan.prepared.shots["df"].table["image_id"].iloc[0]
    contents = {**plan.prepared.images.contents, few: "other"}
    assert changed(plan, plan_of(contents)) == {"fine-tune df", "images df", "autoencoded df", *ARMS}


def test_a_change_of_the_study_seed_redoes_what_the_generator_makes(plan_of):
    assert changed(plan_of(), plan_of(study_seeds=(1,))) >= {*FINE_TUNES, *IMAGES, "arm synthetic 0"}


def test_a_change_of_the_generator_seed_redoes_adapters_and_images_alone(plan_of):
    before, after = plan_of(study_seeds=(3,)), plan_of(study_seeds=(3,), generator_seeds=(4,))
    assert changed(before, after) == {*FINE_TUNES, *IMAGES, "arm synthetic 0"}
    assert not changed(before, plan_of(study_seeds=(3,), generator_seeds=(3,)))


def test_asking_for_a_random_split_changes_no_arm(plan_of):
    before, after = plan_of(), plan_of(random_split=True)
    assert not changed(before, after)
    assert len(after.steps) == len(before.steps) + 1


def test_steps_can_be_sent_to_another_process_and_planned_again_there(plan_of):
    plan = plan_of()
    assert pickle.loads(pickle.dumps(plan.steps)) == plan.steps  # noqa: S301 - our own
    assert plan.digest == plan_of().digest != plan_of(study_seeds=(1,)).digest


def test_external_images_are_one_arm_s_alone(plan_of, tmp_path):
    from PIL import Image

    for name in ("one", "two"):
        for label in CLASSES:
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (16, 16), (9 * i, 99, 9)).save(folder / f"{i}.png")
    arms = ("real", *(ExternalArm(folder=str(tmp_path / name), name=name) for name in ("one", "two")))
    plan = plan_of(arms=arms)
    assert ids(plan) == ["external one", "external two", "arm real 0", "arm one 0", "arm two 0"]
    assert plan.step("arm", "two", "0").needs == ("external two",)


def test_a_column_that_prompts_cannot_tell_is_refused_before_anything_is_made(plan_of):
    prompts = dataclasses.replace(StudyConfig().prompts, age="years")
    with pytest.raises(Exception, match="the table has no column 'years'"):
        plan_of(prompts=prompts)
    assert isinstance(plan_of(prompts=prompts, arms=("real",)).prepared.train.table, pd.DataFrame)


def test_images_are_compared_with_photographs_in_one_piece_of_work_before_the_arms_which_do_not_need_it(plan_of):
    plan = plan_of(fidelity=True, coding="none")
    compared = ["fidelity df", "fidelity vasc", "fidelity reconstruction by class"]
    order = ids(plan)
    first = order.index(compared[0])
    assert order[first : first + 3] == compared
    assert order.index("images vasc") < first < order.index(ARMS[0])
    assert compared in groups(plan)
    assert plan.step("fidelity", "df").needs == ("images df",)
    assert not changed(plan_of(coding="none"), plan)
    assert not set(compared) & set(plan.step("arm", "synthetic", "0").needs)
