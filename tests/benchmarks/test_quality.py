"""The sweep of sampler settings on a study of seconds, and its table by hand."""

import numpy as np
import pytest
import quality
import quality_ground
from quality_settings import Setting, settings
from quality_table import Judged, Measured, _by_setting

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.fidelity import Figure
from augment.generate.run import GenerateConfig
from classify.comparison import estimate_arm, estimate_difference
from classify.config import ClassifierConfig
from classify.metrics import wilson
from classify.oracle import OracleConfig
from data.errors import ConfigError
from data.pixels import PixelConfig
from data.store import read_json
from flows.study import load_study

SMALL = (
    "data.phantom.images=200",
    "data.phantom.balanced=true",
    "pixels.size=32",
    "split.rare=[df]",
    "split.shots=4",
    "fill_to=20",
    "finetune.steps=2",
    "finetune.batch_size=2",
    "finetune.preview_every=2",
    "classifier.model=test_efficientnet",
    "classifier.steps=2",
    "classifier.batch_size=8",
    "classifier.validate_every=2",
    "seeds=[0]",
)
JUDGE = OracleConfig(
    images=140,
    pixels=PixelConfig(size=32),
    classifier=ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2),
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(quality_ground, "OracleConfig", lambda: JUDGE)
    build_tiny_model(TinyModelConfig(), 0).save_pretrained(tmp_path / "base")
    return [f"base.source={tmp_path / 'base'}", f"runs={tmp_path / 'runs'}", *SMALL]


def test_the_reference_comes_first_and_every_setting_is_one_of_generates_own():
    names = [setting.name for setting in settings()]
    assert names[0] == "50 steps, guidance in all"
    assert len(names) == len(set(names)) == 14
    assert Setting(name="a", changes={"guidance_end": 0.5}).of(GenerateConfig(steps=7)) == GenerateConfig(
        steps=7, guidance_end=0.5
    )
    for setting in settings()[:12]:
        assert setting.of(GenerateConfig(steps=12, guidance_scale=3)).sampling().guidance_scale == 3
    for setting, lacks in zip(
        settings()[12:], ("few_step: {lora: FILE}", "generate.taesd names no weights"), strict=True
    ):
        with pytest.raises(ConfigError, match=lacks):
            setting.of(GenerateConfig(steps=12))
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        Setting(name="a", changes={"stepps": 1}).of(GenerateConfig())


@pytest.mark.slow
def test_a_sweep_measures_trains_and_goes_on_where_it_was(study, monkeypatch, capsys):
    few = [
        Setting(name="three steps", changes={"steps": 3}),
        Setting(name="one step", changes={"steps": 1}),
        Setting(name="unheard of", changes={"unheard_of": 1}),
    ]
    monkeypatch.setattr(quality, "settings", lambda: few)
    given = ["--images", "12", "--config", "configs/demo.yaml", *study]
    assert quality.main([*given, "--minutes", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Not measured: unheard of (generate, unheard of: unheard_of: unknown key" in printed
    assert "1 seed" not in printed
    assert "Not measured: three steps (the --minutes were over; the same command goes on from here)" in printed
    assert quality.main(given) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "1 seed" in line]
    assert [line.split("|")[1].strip() for line in table] == ["three steps", "one step", quality.OVERSAMPLED]
    folder = load_study("configs/demo.yaml", study).folder
    kept = read_json(folder.with_name("demo-quality") / "quality.json")
    assert [row["setting"] for row in kept["rows"]] == [quality_ground.CONTROL, "three steps", "one step"]
    assert not folder.exists()  # the study's own split was not even made


def test_the_ground_of_photographs_lies_within_the_train_part(tmp_path, study, monkeypatch):
    monkeypatch.setattr(quality_ground, "imagenet_features", lambda pixels: None)
    drawn = quality_ground.read_images(load_study("configs/demo.yaml", study), lambda *_: None)
    folder = next(iter(drawn.manifest.roots.values()))
    table = f"data={{source: table, folder: {folder}, table: metadata.csv, columns: {{label: dx, lesion: lesion_id}}}}"
    config = load_study("configs/demo.yaml", [*study, table])
    outer = quality_ground._divided(config)[1]
    ground = quality_ground.ground_of(config, 12)
    within, without = set(outer.train.table["group_id"]), {*outer.validation.table["group_id"]}
    for part in (*ground.split.parts().values(), *ground.true.values(), *ground.shots.values()):
        assert set(part.table["group_id"]) <= within - without
    assert not set(ground.true["df"].table["group_id"]) & set(ground.shots["df"].table["group_id"])
    assert len(ground.true["df"])


def test_the_table_holds_each_setting_against_the_first():
    def row(name, value, hits, speed):
        halves = np.array([value - 0.001, value + 0.001])
        figures = dict.fromkeys(
            ("kernel_distance", "frechet_distance", "precision", "recall", "density", "coverage"),
            Figure(value=value, halves=halves),
        )
        return Measured(setting=name, label="df", figures=figures, named=wilson(hits, 10), speed=speed)

    truth, groups = np.array([0, 0, 1, 1]), np.array(list("abcd"))
    right, wrong = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    judged = [
        Judged(
            setting=name,
            estimate=estimate_arm(truth, named, groups, 2).balanced_accuracy,
            difference=estimate_difference(truth, right, named, groups, 2),
            seeds=1,
        )
        for name, named in (("slow", right), ("quick", wrong))
    ]
    lines = _by_setting([row("slow", 0.002, 9, 5.0), row("quick", 0.005, 7, 20.0)], judged, "slow").splitlines()
    slow, quick = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    assert slow[:4] == ["slow", "5.0", "2.0 ± 1.0", "–"]
    assert quick[:4] == ["quick", "20.0", "5.0 ± 1.0", "+3.0 ± 0.0"]
    assert quick[9].startswith("0.70 [")
    assert quick[10].startswith("0.750 [")
    assert quick[11].startswith("-0.250 [")


def test_too_few_images_are_refused_in_one_line(capsys):
    assert quality.main(["--images", "4"]) == 2
    assert capsys.readouterr().err == "error: --images 4: too few to compare; ask for 12 or more\n"
