"""The sweep of sampler settings on a study of seconds, and its table by hand."""

import numpy as np
import pytest
import quality
import quality_data
from quality_settings import RateProgress, Setting, settings
from quality_table import ClassifierResult, ImageResult, _by_setting

from augment.fidelity import Figure
from augment.generate.config import GenerateConfig
from classify.comparison import Comparison
from classify.metrics import wilson
from classify.tested import Tested
from data.errors import ConfigError
from data.store import read_json
from flows.prepare import prepare, read_images
from flows.study import load_study


def test_the_reference_comes_first_and_every_setting_is_one_of_generates_own():
    names = [setting.name for setting in settings()]
    assert names[0] == "50 steps, guidance in all"
    assert len(names) == len(set(names)) == 14
    assert Setting(name="a", changes={"guidance_end": 0.5}).applied_to(GenerateConfig(steps=7)) == GenerateConfig(
        steps=7, guidance_end=0.5
    )
    for setting in settings()[:12]:
        assert setting.applied_to(GenerateConfig(steps=12, guidance_scale=3)).sampling().guidance_scale == 3
    for setting, lacks in zip(
        settings()[12:], ("few_step: {lora: FILE}", "generate.taesd names no weights"), strict=True
    ):
        with pytest.raises(ConfigError, match=lacks):
            setting.applied_to(GenerateConfig(steps=12))
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        Setting(name="a", changes={"stepps": 1}).applied_to(GenerateConfig())


@pytest.mark.slow
def test_a_sweep_measures_trains_and_goes_on_where_it_was(study, monkeypatch, capsys):
    few = [
        Setting(name="three steps", changes={"steps": 3}),
        Setting(name="one step", changes={"steps": 1}),
        Setting(name="unheard of", changes={"unheard_of": 1}),
    ]
    monkeypatch.setattr(quality, "settings", lambda: few)
    command = ["--images", "12", "--config", "configs/demo.yaml", *study]
    assert quality.main([*command, "--minutes", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Not measured: unheard of (generate, unheard of: unheard_of: unknown key" in printed
    assert "1 seed" not in printed
    assert "Not measured: three steps (the --minutes were over; the same command goes on from here)" in printed
    assert quality.main(command) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "1 seed" in line]
    assert [line.split("|")[1].strip() for line in table] == ["three steps", "one step", quality.OVERSAMPLED]
    folder = load_study("configs/demo.yaml", study).folder
    kept = read_json(folder.with_name("demo-quality") / "quality.json")
    assert [row["setting"] for row in kept["images"]] == [quality_data.CONTROL, "three steps", "one step"]
    assert not folder.exists()  # the study's own split was not even made


def test_settings_are_compared_on_photographs_of_the_train_part_alone(study, monkeypatch):
    monkeypatch.setattr(quality_data, "imagenet_features", lambda pixels: None)
    images = read_images(load_study("configs/demo.yaml", study), lambda *_: None)
    folder = next(iter(images.manifest.roots.values()))
    table = f"data={{source: table, folder: {folder}, table: metadata.csv, columns: {{label: dx, lesion: lesion_id}}}}"
    config = load_study("configs/demo.yaml", [*study, table])
    outer = prepare(config, quality_data.StderrRunner()).split
    data = quality_data.quality_data(config, 12)
    within, without = set(outer.train.table["group_id"]), {*outer.validation.table["group_id"]}
    shots = data.prepared.shots
    for part in (*data.prepared.split.parts().values(), *data.real.values(), *shots.values()):
        assert set(part.table["group_id"]) <= within - without
    assert not set(data.real["df"].table["group_id"]) & set(shots["df"].table["group_id"])
    assert len(data.real["df"])


def test_the_rate_leaves_out_the_first_batch(monkeypatch):
    times = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    calls = []
    rate = RateProgress(lambda *call: calls.append(call))
    assert rate.images_per_second is None
    rate(8, 24)
    assert rate.images_per_second is None
    rate(16, 24)
    rate(24, 24)
    assert rate.images_per_second == 4
    assert calls[-1] == (24, 24, "")


def test_the_table_compares_each_setting_with_the_first():
    def row(name, value, hits, speed):
        halves = np.array([value - 0.001, value + 0.001])
        figures = dict.fromkeys(
            ("kernel_distance", "frechet_distance", "precision", "recall", "density", "coverage"),
            Figure(value=value, halves=halves),
        )
        return ImageResult(setting=name, label="df", figures=figures, oracle_recall=wilson(hits, 10), speed=speed)

    truth, groups = np.array([0, 0, 1, 1]), np.array(list("abcd"))
    right, wrong = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    comparison = Comparison((Tested.of_classes(truth, groups, {"slow": right, "quick": wrong}, 2),), 2)
    classifiers = [
        ClassifierResult(
            setting=name,
            estimate=comparison.arm(name).balanced_accuracy,
            difference=comparison.difference(name, "slow"),
            seeds=1,
        )
        for name in ("slow", "quick")
    ]
    lines = _by_setting([row("slow", 0.002, 9, 5.0), row("quick", 0.005, 7, 20.0)], classifiers, "slow").splitlines()
    slow, quick = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    assert slow[:4] == ["slow", "5.0", "2.0 ± 1.0", "–"]
    assert quick[:4] == ["quick", "20.0", "5.0 ± 1.0", "+3.0 ± 0.0"]
    assert quick[9].startswith("0.70 [")
    assert quick[10].startswith("0.750 [")
    assert quick[11].startswith("-0.250 [")


def test_too_few_images_are_refused_in_one_line(capsys):
    assert quality.main(["--images", "4"]) == 2
    assert capsys.readouterr().err == "error: --images 4: too few to compare; ask for 12 or more\n"
