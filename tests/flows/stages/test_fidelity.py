"""Synthetic images are compared with unseen photographs, and no study fails for want of a network."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from augment.base.config import BaseConfig
from augment.methods.lora import LoraConfig
from classify.features import Extractor, KnownFeatures
from data.pixels import PixelConfig, load_pixels
from data.splits.split import SplitConfig
from data.store import read_json, write_text
from flows import held_back
from flows.stages import fidelity as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig

RARE = SplitConfig(rare=("df", "vasc"), shots=12)
PIXELS = PixelConfig(size=16)


class Colours(Extractor):
    """Features that need no network."""

    def __call__(self, images, cache=None):
        return load_pixels(images, self.pixels, cache).astype(np.float64).mean(axis=(1, 2))


class Known(KnownFeatures):
    def extractor(self, pixels):
        return Colours(name=self.name, network=None, pixels=pixels)


KNOWN = Known(name="mean colours", weights="none", architecture="none", identity="1")


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path, monkeypatch):
    """A plan whose synthetic images are drawn as noise; df has 28 unseen photographs, vasc none."""
    split = make_split(nv=60, df=40, vasc=12)

    def plan(known=KNOWN, **changes):
        monkeypatch.setattr(held_back, "features_of", lambda _prepared: known)
        given = {"split": RARE, "fill_to": 56, "pixels": PIXELS, "output_dir": str(tmp_path / "runs")}
        made = make_plan(prepare_study(StudyConfig(**{**given, **changes}), split))
        for step in made.steps_of("images"):
            if not step.target.exists():
                draw(step.target, step.what)
        return made

    return plan


def draw(folder, label, count=16):
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"images/{label}-{i}.png")
    rows = "".join(f"images/{label}-{i}.png,{label},{i},abc\n" for i in range(count))
    write_text(folder / "metadata.csv", f"file_name,label,seed,adapter\n{rows}")


def quiet(*_):
    pass


def record_of(plan, label, folder):
    folder.mkdir()
    stage.make(plan, plan.step("fidelity", label), folder, quiet)
    return read_json(folder / "fidelity.json")


def test_a_class_is_compared_by_name_with_its_unseen_photographs(plan_of, tmp_path):
    record = record_of(plan_of(), "df", tmp_path / "made")
    assert (record["label"], record["features"], record["photographs"]) == ("df", "mean colours", 28)
    assert {name: row["images"] for name, row in record["rows"].items()} == {"synthetic": 16, "shots": 12, "real": 28}
    assert record["drawn"] == [14, 6]
    assert record["rows"]["shots"]["figures"].keys() == {
        "kernel_distance", "precision", "recall", "density", "coverage"
    }  # fmt: skip


def test_without_photographs_a_class_has_no_rows(plan_of, tmp_path):
    record = record_of(plan_of(), "vasc", tmp_path / "made")
    assert (record["photographs"], record["rows"], record["features"]) == (0, {}, "mean colours")


def test_without_a_network_the_step_is_made_and_says_so(plan_of, tmp_path):
    record = record_of(plan_of(known=None), "df", tmp_path / "made")
    assert (record["features"], record["rows"], record["photographs"]) == ("", {}, 28)


def test_what_is_held_back_from_the_classifier_is_compared_with_too(plan_of, tmp_path):
    limited = dataclasses.replace(RARE, limit_real_to_shots=True)
    assert record_of(plan_of(split=limited), "df", tmp_path / "made")["photographs"] == 28


def test_photographs_that_chose_the_step_are_left_out(plan_of, tmp_path):
    record = record_of(plan_of(finetune=LoraConfig(select_every=10)), "df", tmp_path / "made")
    assert record["photographs"] == 14


def test_each_class_is_reconstructed_from_a_few_photographs_of_other_groups(plan_of, tmp_path, monkeypatch):
    asked = []

    def psnr(_vae, pixels):
        asked.append(len(pixels))
        return [30.0 + n for n in range(len(pixels))]

    monkeypatch.setattr(stage, "load_base", lambda _base: SimpleNamespace(vae=SimpleNamespace(to=lambda _device: None)))
    monkeypatch.setattr(stage, "psnr", psnr)
    plan = plan_of()
    stage.make(plan, plan.step("reconstruction"), tmp_path, quiet)
    found = read_json(tmp_path / "reconstruction.json")
    assert {label: row["images"] for label, row in found["classes"].items()} == {"df": 32, "nv": 32, "vasc": 12}
    assert found["classes"]["vasc"] == {"images": 12, "value": (8 * 33.5 + 4 * 31.5) / 12, "low": 30.0, "high": 37.0}
    assert max(asked) == 8
    assert found["size"] == 16


def test_nothing_is_compared_where_it_is_not_asked_for_or_no_arm_uses_a_base(plan_of):
    assert plan_of(fidelity=False).steps_of("fidelity") == ()
    assert plan_of(arms=("real", "oversampled")).steps_of("fidelity") == ()
    assert [step.what for step in plan_of(arms=("real", "autoencoded")).steps_of("fidelity")] == [
        "reconstruction by class"
    ]


def test_other_images_photographs_or_features_are_compared_anew(plan_of):
    def digests(**changes):
        plan = plan_of(**changes)
        return [step.digest for step in plan.steps_of("fidelity")]

    before = digests()
    assert digests(arms=("real", "synthetic")) == before
    other = digests(known=dataclasses.replace(KNOWN, identity="2"))
    assert [one == two for one, two in zip(before, other, strict=True)] == [False, False, True]
    assert not set(digests(base=BaseConfig(source="owner/name"))) & set(before)


def test_no_photograph_that_is_compared_with_is_of_another_part_or_class(plan_of):
    prepared = plan_of().prepared
    found = held_back.measuring(prepared, "df").table
    assert set(found["image_id"]) <= set(prepared.split.train.table["image_id"])
    assert set(found["label"]) == {"df"}
