import dataclasses
import re
from pathlib import Path

import pytest

from augment.generate.config import GenerateConfig
from augment.prompts import PromptConfig
from classify.arms import FULL
from data.config import load_part, parse
from data.doctor.__main__ import DoctorConfig
from data.errors import ConfigError
from data.sources.external import ExternalArm
from flows.study import StudyConfig, load_study

REPOSITORY = Path(__file__).parents[2]

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not path.stem.startswith("tiny-base")], ids=lambda path: path.stem
)
def test_every_config_of_the_repository_loads(path):
    assert load_study(path).name == path.stem


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("clasifier.steps=3", "did you mean 'classifier'"),
        ("classifier.step=3", "did you mean 'steps'"),
        ("finetune.steps=0", "finetune.steps"),
        ("arms=[synthetic]", "arms must begin with 'real'"),
        ("study_seeds=[4294967295]", "less than or equal to 4294967294"),  # scikit-learn's next seed must be below 2^32
        ("seeds=[-1]", "greater than or equal to 0"),
        ("seeds=[1, 1]", "seeds must name at least one, each once"),
        ("arms=[real, {foldr: x}]", "did you mean 'folder'"),
        ("arms=[real, {folder: x}, {folder: y}]", "arms must name at least one, each once"),
        ("arms=[real, {folder: x, name: synthetic}]", "cannot be called 'synthetic'"),
        (
            "arms=[real, mixed]",
            "'mixed' is no arm; known: real, balanced, oversampled, classical, mixup, autoencoded, ",
        ),
        ("arms=[real, mixed]", "synthetic, real@NUMBER, synthetic@NUMBERx, or {folder: ..., name: ...}"),
        ("arms=[real, synthetic@0x]", "'synthetic@0x' is no arm"),
        ("arms=[real@16, real]", "arms must begin with 'real'"),
        ("arms=[real, real@32, real@32]", "arms must name at least one, each once"),
        ("coding=some", "coding: Input should be 'mixed', 'all' or 'none'"),
        ("malignant=[mel, mel]", "malignant must name each class once"),
        ("split.rare=[]", "split.rare must name at least one"),
        ("study_seeds=[]", "study_seeds must name at least one, each once"),
        ("study_seeds=[1, 1]", "study_seeds must name at least one, each once"),
        ("generator_seeds=[1, 1]", "generator_seeds must name each once"),
        ("split.fold=1", "there is no fold 1: `n_splits` is not set"),
        ("data.phantom.seed=1000000", "from 1000000 on, phantoms are those that the embedded classifiers were trained"),
        ("study_seed=1", "study_seed: unknown key; it is called study_seeds now"),
        ("photographs=false", "photographs: unknown key; it is called embed_real_images now"),
        ("runs=x", "runs: unknown key; it is called output_dir now"),
        ("finetune.clip=1", "finetune.max_grad_norm"),
        ("finetune.rnak=4", "did you mean 'rank'"),
        ("name=../outside", "name"),
        ("steps", "key=value"),
    ],
)
def test_an_invalid_setting_is_refused_in_one_line(override, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        load_study(REPOSITORY / "configs" / "demo.yaml", [override])
    assert "\n" not in str(refused.value)


def test_the_arms_can_be_given_by_one_word_or_with_numbers_in_their_names():
    demo = REPOSITORY / "configs" / "demo.yaml"
    assert load_study(demo, ["arms=full"]).arm_names == FULL
    named = load_study(demo, ["arms=[real, real@32, synthetic@0.5x]"])
    assert [(arm.photographs, arm.dose) for arm in named.arm_table.values()] == [(None, None), (32, None), (None, 0.5)]
    assert named.trains_on("synthetic")
    assert not named.trains_on("train")


def test_the_doctor_reads_a_study_s_settings_with_the_study_s_defaults():
    names = {field.name for field in dataclasses.fields(DoctorConfig)} - {"prompts"}
    assert DoctorConfig() == DoctorConfig(**{name: getattr(StudyConfig(), name) for name in names})
    assert parse(PromptConfig, dict(DoctorConfig().prompts), "prompts") == StudyConfig().prompts


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not path.stem.startswith("tiny-base")], ids=lambda path: path.stem
)
def test_the_doctor_loads_every_config_of_a_study(path):
    asked = load_part(DoctorConfig, path)
    study = load_study(path)
    assert (asked.data, asked.pixels, asked.split) == (study.data, study.pixels, study.split)


def test_settings_that_have_no_effect_are_refused():
    demo = str(REPOSITORY / "configs" / "demo.yaml")
    scratch = ["base.source=pretrain", "base.pretrain.init_from=scratch", "base.pretrain.autoencoder={}"]
    for overrides, words in (
        (["base.pretrain.attribute_dropout=0.5"], "source is 'tiny', not 'pretrain'"),
        (["base.source=pretrain", "base.pretrain.model.text_width=64"], "`model` is that of"),
        (["base.source=pretrain", "base.pretrain.init_from=scratch"], "no trained autoencoder"),
        ([*scratch, "pixels.size=96"], r"image_size is 64, pixels\.size 96"),
        (["base.source=pretrain", "base.pretrain.denoiser.step=3"], "did you mean 'steps'"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_study(demo, overrides)


def repeated(**settings):
    return StudyConfig(name="one", output_dir="out", **settings)


def test_a_study_of_one_seed_and_no_folds_is_its_own_repeat_in_the_run_s_folder():
    study = repeated(study_seeds=(5,))
    assert study.repeats() == (study,)
    assert (study.records, study.title) == (study.folder, "")
    assert (study.study_seed, study.generator_seed) == (5, 5)
    fold = repeated(split={"n_splits": 4, "fold": 2})
    assert fold.repeats() == (fold,)


def test_a_study_is_repeated_for_each_study_seed_generator_seed_and_fold_with_records_of_their_own():
    study = repeated(study_seeds=(3, 10), generator_seeds=(5, 6), split={"n_splits": 2})
    repeats = study.repeats()
    assert [(one.study_seed, one.generator_seed, one.split.fold) for one in repeats] == [
        (seed, generator, fold) for seed in (3, 10) for generator in (5, 6) for fold in (0, 1)
    ]
    assert {one.folder for one in repeats} == {study.folder}
    assert repeats[1].records == Path("out/one/repeats/seed-3-generator-5-fold-1")
    assert repeats[1].title == "seed 3, generator 5, fold 1"
    assert all(one.repeats() == (one,) for one in repeats)
    assert len({one.records for one in repeats}) == 8


def test_study_seeds_alone_are_the_generator_s_too():
    one, other = repeated(study_seeds=(0, 1)).repeats()
    assert (other.study_seed, other.generator_seed) == (1, 1)
    assert (one.records.name, other.title) == ("seed-0", "seed 1")


def test_generator_seeds_that_would_change_nothing_and_repeats_of_a_repeat_are_refused():
    with pytest.raises(ValueError, match="generator_seeds are those of synthetic images, which no arm trains on"):
        repeated(generator_seeds=(1, 2), arms=("real", "oversampled"))
    with pytest.raises(ValueError, match="is_repeat is set, so give one study seed, one generator seed and one fold"):
        repeated(study_seeds=(1, 2), is_repeat=True)


def test_emphasis_that_is_off_cannot_stand_beside_prompts_that_have_some():
    off, emphasised = GenerateConfig(emphasis="off"), PromptConfig(class_names={"mel": "(melanoma:1.3)"})
    with pytest.raises(ValueError, match=r"generate\.emphasis is off, but fine-tuning reads brackets .* write \\\("):
        StudyConfig(generate=off, prompts=emphasised)
    StudyConfig(generate=off, prompts=PromptConfig(class_names={"mel": r"melanoma \(in situ\)"}))
    StudyConfig(prompts=emphasised)


def test_soft_labels_are_refused_without_images_that_have_some():
    study = load_study("configs/demo.yaml", ["classifier.soft_labels=true", "generate.edit={source: other}"])
    assert study.classifier.soft_labels
    for edit in ("null", "{source: own}"):
        with pytest.raises(ValueError, match=r"soft_labels is for images .* set generate\.edit\.source: other"):
            load_study("configs/demo.yaml", ["classifier.soft_labels=true", f"generate.edit={edit}"])


def test_images_of_a_folder_cannot_stand_where_everything_is_coded():
    with pytest.raises(ValueError, match="coding: all is for images that have passed the base's autoencoder"):
        StudyConfig(coding="all", arms=("real", ExternalArm(folder="drawn", name="mine")))
