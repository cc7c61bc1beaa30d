"""The study's own base: what it may see, what it is made anew for, and the wall between it and the test part."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig
from augment.base.train import OwnBaseConfig
from data.errors import BaseError, ConfigError, DataError
from data.manifest import COLUMNS, Manifest, read_table
from data.splits.split import Split, SplitConfig
from data.store import write_json
from flows.augment_and_evaluate import main
from flows.base import base_step, refuse_base
from flows.pipeline import run_study
from flows.prepare import Images, base_part, split_step
from flows.study import StudyConfig, load_study

REPOSITORY = Path(__file__).parents[2]
OWN = StudyConfig(base=BaseConfig(source="pretrain"), split=SplitConfig(rare=("df", "vasc"), shots=2))


def part(name: str, folder: Path) -> Manifest:
    labels = ["nv"] * 4 + ["mel"] * 3 + ["df"] * 3 + ["vasc"] * 3
    ids = [f"{name}{number}" for number in range(len(labels))]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "label": labels}
    table = pd.DataFrame({**columns, "group_id": [f"g-{each}" for each in ids], "lesion_id": ids})
    return Manifest(table.assign(root="data", source="real"), {"data": folder})


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return Split(part("a", tmp_path), part("b", tmp_path), part("c", tmp_path))


@pytest.fixture
def images(split: Split, tmp_path: Path) -> Images:
    whole = Manifest.concat(*split.parts().values())
    contents = dict.fromkeys(whole.table["image_id"], "0")
    return Images(stage="", what="", seconds=0, reused=True, folder=tmp_path, manifest=whole, contents=contents)


def with_own(config: StudyConfig, **changes: object) -> StudyConfig:
    return dataclasses.replace(config, base=BaseConfig(source="pretrain", pretrain=OwnBaseConfig(**changes)))


def test_the_base_sees_the_train_part_without_the_rare_classes(split: Split):
    seen = base_part(OWN, split)
    assert seen.counts() == {"mel": 3, "nv": 4}
    assert set(seen.table["group_id"]) <= set(split.train.table["group_id"])


def test_the_config_may_name_what_the_base_sees(split: Split):
    assert base_part(with_own(OWN, classes=("nv", "df")), split).counts() == {"df": 3, "nv": 4}


def test_where_rare_classes_are_limited_to_their_shots_the_base_sees_no_more_of_them(split: Split):
    limited = dataclasses.replace(OWN.split, limit_real_to_shots=True)
    config = with_own(dataclasses.replace(OWN, split=limited), classes=("nv", "df"))
    assert base_part(config, split).counts() == {"df": 2, "nv": 4}


def test_a_base_that_would_see_nothing_must_be_told_its_classes(split: Split):
    rare = SplitConfig(rare=("df", "mel", "nv", "vasc"), shots=2)
    with pytest.raises(ConfigError, match=r"split\.rare holds every class.* name some in base\.pretrain\.classes"):
        base_part(dataclasses.replace(OWN, split=rare), split)
    with pytest.raises(ConfigError, match=r"base\.pretrain\.classes names 'bkl', .* labels: df, mel, nv, vasc"):
        base_part(with_own(OWN, classes=("bkl",)), split)


def written(folder: Path, **seen: object) -> BaseConfig:
    write_json(folder / "training.json", seen)
    return BaseConfig(source=str(folder))


@pytest.mark.parametrize(("letter", "name"), [("b", "validation"), ("c", "test")])
def test_a_base_that_has_seen_what_judges_is_refused(split: Split, tmp_path: Path, letter: str, name: str):
    refuse_base(written(tmp_path / "good", groups=["g-a1"], image_ids=["a1"]), split)
    said = rf"the base .*bad has seen 1 leakage groups of the {name} part, first \['g-{letter}2'\]"
    with pytest.raises(DataError, match=said):
        refuse_base(written(tmp_path / "bad", groups=["g-a1", f"g-{letter}2"]), split)
    renamed = written(tmp_path / "renamed-bad", groups=["lesion 7"], image_ids=["a1", f"{letter}2"])
    with pytest.raises(DataError, match=said):
        refuse_base(renamed, split)


def test_the_embedded_base_and_one_from_a_hub_are_let_through(split: Split):
    refuse_base(BaseConfig(), split)
    refuse_base(BaseConfig(source="owner/name"), split)


def names(config: StudyConfig, split: Split, images: Images) -> dict[str, str]:
    base = base_step(config, images, base_part(config, split))
    return {"split": split_step(config, images).target.name, "base": base.target.name}


def test_another_train_part_makes_another_base(split: Split, images: Images):
    before = names(OWN, split, images)
    other = Split(split.train.where(split.train.table["image_id"] != "a0"), split.validation, split.test)
    assert names(OWN, other, images)["base"] != before["base"]
    swapped = Split(split.test, split.validation, split.train)
    assert names(OWN, swapped, images)["base"] != before["base"]


def test_settings_of_the_training_redo_the_base_and_not_the_split(split: Split, images: Images):
    before, own = names(with_own(OWN, autoencoder=AutoencoderConfig()), split, images), OwnBaseConfig()
    kept = names(with_own(OWN, denoiser=dataclasses.replace(own.denoiser, steps=7)), split, images)
    assert (kept["split"], kept["base"] != before["base"]) == (before["split"], True)
    idle = dataclasses.replace(own.denoiser, checkpoint_every=7), AutoencoderConfig(compile=True)
    assert names(with_own(OWN, denoiser=idle[0], autoencoder=idle[1]), split, images) == before
    assert names(with_own(OWN, classes=("nv",)), split, images)["split"] != before["split"]  # its ledger names them


def test_settings_that_nobody_would_read_are_refused(tmp_path: Path):
    demo = str(REPOSITORY / "configs" / "demo.yaml")
    scratch = ["base.source=pretrain", "base.pretrain.start=scratch", "base.pretrain.autoencoder={}"]
    for overrides, words in (
        (["base.pretrain.plain=0.5"], "source is 'tiny', not 'pretrain'"),
        (["base.source=pretrain", "base.pretrain.classes=[nv]", "base.pretrain.sizes.text_width=64"], "`sizes` are"),
        (["base.source=pretrain", "base.pretrain.start=scratch"], "no autoencoder to keep"),
        ([*scratch, "pixels.size=96"], r"image_size is 64, pixels\.size 96"),
        (["base.source=pretrain", "base.pretrain.denoiser.step=3"], "did you mean 'steps'"),
        (["base.source=pretrain", "base.pretrain.denoiser.checkpoint_every=0"], "greater than or equal to 1"),
        (["base.source=pretrain", "base.pretrain.autoencoder.batch_size=0"], "greater than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_study(demo, overrides)


def test_what_prompts_cannot_tell_is_said_before_anything_is_trained(small_study, tmp_path, capsys):
    for column, words in (("localization", "write years as a number"), ("years", "the table has no column 'years'")):
        assert main([*small_study, f"runs={tmp_path}", f"prompts={{age: {column}}}"]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("finetune"))


@pytest.fixture(scope="module")
def own_study(small_study, tmp_path_factory):
    """The small study with a base of its own, continued from that of random weights, and prompts that tell more."""
    start = next(each for each in small_study if each.startswith("base.source=")).partition("=")[2]
    return [
        *small_study,
        f"runs={tmp_path_factory.mktemp('runs')}",
        "name=own",
        "arms=[real, synthetic]",
        "base.source=pretrain",
        f"base.pretrain.start={start}",
        "base.pretrain.autoencoder={steps: 2, batch_size: 2}",
        "base.pretrain.denoiser={steps: 3, batch_size: 2, checkpoint_every: 1}",
        "prompts={site: localization, age: age, sex: sex}",
    ]


@pytest.mark.slow
def test_a_study_trains_its_own_base_goes_on_after_a_stop_and_says_what_was_seen(own_study, monkeypatch, capsys):
    monkeypatch.setattr("augment.base.denoiser._follow", _stop_at(2))
    assert main(own_study) == 130
    monkeypatch.undo()
    folder = load_study(own_study[0], own_study[1:]).folder
    (begun,) = folder.glob("base-*.partial")
    stages = sorted(path.name for path in (begun / "checkpoint").iterdir())
    assert stages == ["autoencoder-centred.pt", "autoencoder.pt", "denoiser.pt", "latents.pt"]

    told = []
    monkeypatch.setattr("augment.base.pretrain.train_base", _watched(told))
    assert main(own_study) == 0
    assert told == [("denoiser", 2), ("denoiser", 3)]  # nothing is done again
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    base = folder / record["artifacts"]["base"]
    assert not (base / "checkpoint").exists()
    assert record["base"]["source"] == base.name

    (split,) = folder.glob("split-*")
    parts = {name: read_table(split / f"{name}.csv") for name in ("train", "validation", "test")}
    seen = set(json.loads((base / "training.json").read_text(encoding="utf-8"))["groups"])
    train = parts["train"]
    assert seen == set(train["group_id"][train["label"] != "df"])
    drawn = folder / record["artifacts"]["images"]["df"]
    lineage = set(json.loads((drawn / "generation.json").read_text(encoding="utf-8"))["seen"]["group_ids"])
    assert seen < lineage
    assert not lineage & {*parts["validation"]["group_id"], *parts["test"]["group_id"]}

    prompts = read_table(drawn / "metadata.csv")
    sites = set(train["localization"][train["label"] == "df"]) - {"unknown"}
    assert len(set(prompts["prompt"])) > 1
    assert set(prompts["prompt_site"]) - {""} <= sites
    assert "of the train part" in (folder / "report.html").read_text(encoding="utf-8")

    capsys.readouterr()
    assert main(own_study) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if "/9 " in line and "report" not in line and "disk" not in line]
    assert all("kept from before" in line for line in steps), lines
    (disk,) = [line for line in lines if " disk: " in line]
    assert "by estimate (tables and report" in disk  # nothing else is left to be written
    assert "checkpoints" not in disk

    other = [each for each in own_study if not each.startswith("base.pretrain")]
    assert main([*other, f"base.source={base}", "study_seed=1", "name=other"]) == 2
    assert f"error: the base {base} has seen" in capsys.readouterr().err


def _stop_at(step):
    calls = []

    def follow(*_given):
        calls.append(1)
        if len(calls) == step:
            raise KeyboardInterrupt

    return follow


def _watched(told):
    from augment.base.train import train_base

    def train(*given):
        *given, progress, weights = given

        def tell(stage, done, of, loss):
            told.append((stage, done))
            progress(stage, done, of, loss)

        train_base(*given, tell, weights)

    return train


@pytest.mark.parametrize(
    ("base", "key"),
    [
        ({"source": "/nowhere"}, r"base\.source"),
        ({"source": "pretrain", "pretrain": {"start": "/nowhere"}}, r"base\.pretrain\.start"),
    ],
)
def test_a_base_that_lies_nowhere_is_said_before_any_work(tmp_path, base, key):
    config = StudyConfig(runs=str(tmp_path), base=BaseConfig(**base))
    with pytest.raises(BaseError, match=f"^{key}: /nowhere: no such file or folder; give `tiny`"):
        run_study(config, lambda *_: pytest.fail("work was begun"))
    unused = dataclasses.replace(config, arms=("real", "oversampled"))
    with pytest.raises(pytest.fail.Exception, match="work was begun"):
        run_study(unused, lambda *_: pytest.fail("work was begun"))
