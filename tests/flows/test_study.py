import dataclasses
from pathlib import Path

import pytest

from data.config import load_part
from data.doctor.__main__ import DoctorConfig
from data.errors import ConfigError
from data.manifest import COLUMNS, Manifest
from data.splits.split import Split
from flows.compare import arm_step, counts_to_draw
from flows.prepare import Images, split_step
from flows.study import StudyConfig, load_study, settings
from flows.synthesize import finetune_step, images_step

REPOSITORY = Path(__file__).parents[2]

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not path.stem.startswith(("tiny-base", "judge"))], ids=lambda path: path.stem
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
        ("study_seed=4294967295", "less than or equal to 4294967294"),  # scikit-learn's next seed must be below 2^32
        ("seeds=[-1]", "greater than or equal to 0"),
        ("seeds=[1, 1]", "seeds must name at least one, each once"),
        ("arms=[real, {foldr: x}]", "did you mean 'folder'"),
        ("arms=[real, {folder: x}, {folder: y}]", "arms must name at least one, each once"),
        ("arms=[real, {folder: x, name: synthetic}]", "cannot be called 'synthetic'"),
        ("split.rare=[]", "split.rare must name at least one"),
        ("name=../elsewhere", "name"),
        ("steps", "key=value"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_in_one_line(override, words):
    with pytest.raises(ConfigError, match=words.replace("[", r"\[").replace(".", r"\.")) as refused:
        load_study(REPOSITORY / "configs" / "demo.yaml", [override])
    assert "\n" not in str(refused.value)


def test_the_doctor_reads_a_study_s_settings_with_the_study_s_defaults():
    of = {field.name: getattr(StudyConfig(), field.name) for field in dataclasses.fields(DoctorConfig)}
    assert DoctorConfig() == DoctorConfig(**of)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not path.stem.startswith(("tiny-base", "judge"))], ids=lambda path: path.stem
)
def test_the_doctor_loads_every_config_of_a_study(path):
    asked = load_part(DoctorConfig, path)
    study = load_study(path)
    assert (asked.data, asked.pixels, asked.split) == (study.data, study.pixels, study.split)


def test_settings_leave_out_only_fields_that_there_are():
    with pytest.raises(KeyError, match="bach_size"):
        settings(StudyConfig().generate, "bach_size")


def manifest(tmp_path, prefix, labels):
    import pandas as pd

    ids = [f"{prefix}{i}" for i in range(len(labels))]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": ids, "lesion_id": ids}
    table = pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real")
    return Manifest(table, {"r": tmp_path})


@pytest.fixture
def planned(tmp_path):
    """Folder names of a study's artifacts, by stage; nothing is run."""
    parts = [manifest(tmp_path, name, ["nv"] * 6 + ["mel"] * 4 + ["df"] * 2) for name in "abc"]
    split = Split(*parts)
    whole = Manifest.concat(*parts)
    contents = dict.fromkeys(whole.table["image_id"], "0")
    images = Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=whole, contents=contents)

    def plan(images=images, **changes):
        config = dataclasses.replace(
            StudyConfig(split=dataclasses.replace(StudyConfig().split, rare=("df",))), **changes
        )
        counts = counts_to_draw(config, split.train)
        tuned = finetune_step(config, images, "df", split.train.of("df"))
        drawn = {"df": images_step(config, "df", counts["df"], tuned)}
        arms = {arm: arm_step(config, images, split, split.train, arm, 0, drawn) for arm in config.arms}
        steps = {"split": split_step(config, images), "fine-tune": tuned, "images": drawn["df"], **arms}
        return {name: step.target.name for name, step in steps.items()}

    plan.images = images
    return plan


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_change_of_the_classifier_redoes_no_fine_tune_and_no_images(planned):
    steps = dataclasses.replace(StudyConfig().classifier, steps=7)
    assert changed(planned(), planned(classifier=steps)) == {"real", "oversampled", "synthetic"}


def test_a_change_of_the_fine_tune_redoes_what_comes_of_it_alone(planned):
    steps = dataclasses.replace(StudyConfig().finetune, steps=7)
    assert changed(planned(), planned(finetune=steps)) == {"fine-tune", "images", "synthetic"}


def test_a_change_of_the_fill_leaves_the_fine_tune_and_the_real_arm(planned):
    assert changed(planned(), planned(fill_to=9)) == {"images", "oversampled", "synthetic"}


def test_what_only_changes_speed_redoes_nothing(planned):
    config = StudyConfig()
    generate = dataclasses.replace(config.generate, batch_size=3, decode_batch=2)
    classifier = dataclasses.replace(config.classifier, threads=1)
    assert not changed(planned(), planned(generate=generate, classifier=classifier))


def test_an_image_whose_bytes_changed_redoes_everything(planned):
    contents = {**planned.images.contents, "a11": "1"}
    before, after = planned(), planned(images=dataclasses.replace(planned.images, contents=contents))
    assert changed(before, after) == set(before)


def test_a_change_of_the_study_seed_redoes_what_the_generator_makes(planned):
    assert changed(planned(), planned(study_seed=1)) == {"split", "fine-tune", "images", "synthetic"}
