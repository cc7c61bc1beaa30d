import csv
import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import classify.augmented_batches
import classify.train
from classify.config import ClassifierConfig
from classify.mix import CODED, PHOTOGRAPH, SYNTHETIC
from classify.model import load
from classify.record import ArmRecord
from classify.train import ArmTask, train_arm
from data.errors import DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig

SMALL = ClassifierConfig(augment_device="cpu", model="test_efficientnet", steps=6, batch_size=8, validate_every=2)
PIXELS = PixelConfig(size=16)


@pytest.fixture
def manifest(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for i in range(24):
        pixels = rng.integers(60, 120, (16, 16, 3), dtype=np.uint8)
        pixels[..., i % 2] += 100
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        label = ("df", "nv")[i % 2]
        rows.append([f"i{i}", "all", f"{i}.png", label, f"g{i}", f"l{i}", "", "real", ""])
    columns = ["image_id", "root", "path", "label", "group_id", "lesion_id", "patient_id", "source", "lineage"]
    return Manifest(pd.DataFrame(rows, columns=columns), {"all": tmp_path})


def part(manifest, start, stop):
    table = manifest.table.iloc[start:stop].reset_index(drop=True)
    return Manifest(table, manifest.roots)


def train(manifest, out, config=SMALL, **changes):
    parts = {"train": part(manifest, 0, 16), "validation": part(manifest, 16, 24), **changes}
    task = ArmTask(arm="real", seed=1, **parts)
    train_arm(task=task, config=config, pixels=PIXELS, out=out, cache=out.parent / "cache")


def test_an_arm_leaves_its_model_its_history_and_its_record(manifest, tmp_path):
    train(manifest, tmp_path / "arm")
    assert sorted(path.name for path in (tmp_path / "arm").iterdir()) == ["arm.json", "history.csv", "model"]
    assert load(tmp_path / "arm/model").labels == ("df", "nv")
    rows = list(csv.DictReader((tmp_path / "arm/history.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    record = json.loads((tmp_path / "arm/arm.json").read_text())
    assert (record["arm"], record["seed"], record["steps"], record["samples"]) == ("real", 1, 6, 48)
    assert record["images"]["train"]["df"] == {"real": 8, "repeated": 0, "synthetic": 0}
    assert record["best_step"] == 6  # the last
    assert record["validation_balanced_accuracy"] == pytest.approx(float(rows[-1]["validation_balanced_accuracy"]))


def test_the_recorded_score_is_that_of_the_network_that_is_kept(manifest, tmp_path, monkeypatch):
    for checkpoint, step, score in (("last", 6, 0.1), ("best", 4, 0.9)):
        scores = iter([0.5, 0.9, 0.1])
        monkeypatch.setattr("classify.fit.balanced_accuracy", lambda *_, scores=scores: next(scores))
        config = dataclasses.replace(SMALL, checkpoint=checkpoint)
        train(manifest, tmp_path / checkpoint, config)
        record = json.loads((tmp_path / checkpoint / "arm.json").read_text())
        assert (record["best_step"], record["validation_balanced_accuracy"]) == (step, score)


def test_the_coded_photographs_and_the_synthetic_images_are_told_apart_from_photographs(
    manifest, tmp_path, monkeypatch
):
    given = []
    fit = classify.train.fit
    monkeypatch.setattr(classify.train, "fit", lambda *data, **more: given.append((data, more)) or fit(*data, **more))
    table = part(manifest, 0, 16)
    table.table.loc[14:, "source"] = "synthetic"
    twins = Manifest(manifest.table.iloc[:3].assign(image_id=["c0", "c1", "c2"]), manifest.roots)
    train(manifest, tmp_path / "arm", train=table, coded=twins, coding="mixed")
    ((labelled, validation, *_), more) = given[0]
    assert labelled.kinds.tolist() == [PHOTOGRAPH] * 14 + [SYNTHETIC] * 2 + [CODED] * 3
    assert labelled.classes.tolist() == [i % 2 for i in range(16)] + [0, 1, 0]
    assert (labelled.pixels[16:] == labelled.pixels[:3]).all()
    assert set(validation.kinds) == {PHOTOGRAPH}
    assert more["coding"] == "mixed"
    record = json.loads((tmp_path / "arm/arm.json").read_text())
    assert record["images"]["train"]["df"] == {"real": 7, "repeated": 0, "synthetic": 1}  # a twin is no further image


def test_a_temperature_is_fitted_on_the_validation_part_and_kept_with_the_model(manifest, tmp_path, monkeypatch):
    fitted = []

    def fit(outputs, classes):
        fitted.append((outputs.shape, classes.tolist()))
        return 1.5

    monkeypatch.setattr("classify.train.fit_temperature", fit)
    train(manifest, tmp_path / "plain")
    assert not fitted
    assert load(tmp_path / "plain/model").temperature == 1.0
    train(manifest, tmp_path / "fitted", config=dataclasses.replace(SMALL, calibrate=True, test_views=8))
    labels = manifest.table["label"].iloc[16:24]
    assert fitted == [((8, 2), [("df", "nv").index(label) for label in labels])]
    kept = load(tmp_path / "fitted/model")
    assert (kept.temperature, kept.test_views) == (1.5, 8)
    assert ArmRecord.read(tmp_path / "fitted").temperature == 1.5


def test_the_same_seed_writes_the_same_model_bytes(manifest, tmp_path):
    for name in ("one", "two"):
        train(manifest, tmp_path / name)
    for file in ("model/model.safetensors", "model/config.json", "history.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_failed_training_says_which_arm_and_keeps_the_checkpoint(manifest, tmp_path, monkeypatch):
    true, calls = classify.augmented_batches.normalise, []

    def broken(pixels, network):
        calls.append(1)
        return true(pixels, network) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(classify.augmented_batches, "normalise", broken)
    with pytest.raises(TrainingError, match="arm 'real', seed 1: the loss is nan at step 4"):
        train(manifest, tmp_path / "arm")
    assert {path.name for path in (tmp_path / "arm").iterdir()} == {"checkpoint.pt", "checkpoint.pt.sha256"}


def test_a_class_that_cannot_be_learnt_is_refused(manifest, tmp_path):
    only = manifest.of("nv")
    with pytest.raises(DataError, match="validation part has 'df', which the train part of arm 'real' lacks"):
        train(manifest, tmp_path / "arm", train=only)


def test_images_of_another_program_are_no_decoded_ones_under_mixed_coding(manifest, tmp_path, monkeypatch):
    given = []
    fit = classify.train.fit
    monkeypatch.setattr(classify.train, "fit", lambda *data, **more: given.append(data) or fit(*data, **more))
    table = part(manifest, 0, 16)
    table.table.loc[14:, "source"] = "synthetic"
    twins = Manifest(manifest.table.iloc[:3].assign(image_id=["c0", "c1", "c2"]), manifest.roots)
    train(manifest, tmp_path / "mixed", train=table, coded=twins, coding="mixed", is_external=True)
    train(manifest, tmp_path / "none", train=table, coding="none", is_external=True)
    assert given[0][0].kinds.tolist() == [PHOTOGRAPH] * 16 + [CODED] * 3
    assert given[1][0].kinds.tolist() == [PHOTOGRAPH] * 14 + [SYNTHETIC] * 2


@pytest.mark.parametrize("soft", [True, False])
def test_an_edited_image_keeps_a_share_of_its_photograph_s_class_where_that_is_asked_for(
    manifest, tmp_path, monkeypatch, soft
):
    class GivenError(Exception):
        """What the training was given; it goes no further."""

    def give(labelled, *_, **__):
        raise GivenError(labelled)

    monkeypatch.setattr(classify.train, "fit", give)
    table = manifest.table.assign(source_label="", source_weight="")
    table.loc[0, ["source_label", "source_weight"]] = ["nv", "0.29"]
    config = dataclasses.replace(SMALL, soft_labels=soft)
    with pytest.raises(GivenError) as given:
        train(Manifest(table, manifest.roots), tmp_path / "out", config)
    found = given.value.args[0].soft
    assert found is None if not soft else (found.shares[0], found.classes[0]) == (0.29, 1)
