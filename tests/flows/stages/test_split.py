"""The split of images from zips, with an official test set, through hashing, split and leakage record."""

import dataclasses
import shutil

import pytest

from augment.base.config import BaseConfig
from data.phantoms.table import PhantomConfig, write_phantoms
from data.pixels import PixelConfig
from data.splits.leakage import read_split
from data.store import file_sha256, read_json
from flows.execute import make_artefact
from flows.prepare import read_images
from flows.stages import split as stage
from flows.study import StudyConfig


def quiet(done, total, note=""):
    """Show no progress."""


@pytest.fixture
def folder(tmp_path):
    """Phantoms in HAM10000's layout: a third of the patients are the official test set, less one of their images."""
    drawn = tmp_path / "drawn"
    write_phantoms(drawn, PhantomConfig(images=84, balanced=True, width=64, height=64))
    header, *rows = [line.split(",") for line in (drawn / "metadata.csv").read_text().splitlines()]
    patient = header.index("patient_id")
    patients = sorted({row[patient] for row in rows})[::3]
    held = [row for row in rows if row[patient] in patients]
    twins = [row for row in held if sum(other[patient] == row[patient] for other in held) > 1]
    held.remove(twins[0])
    folder = tmp_path / "ham"
    folder.mkdir()
    for name, part in (("HAM10000_metadata.csv", [row for row in rows if row not in held]), ("test.csv", held)):
        (folder / name).write_text("\n".join(",".join(row) for row in [header, *part]))
    (drawn / "images").rename(folder / "HAM10000_images_part_1")
    return folder, {row[header.index("image_id")] for row in held}, twins[0][header.index("image_id")]


def study(folder, runs):
    data = {"source": "ham10000", "folder": str(folder), "test": {"table": "test.csv"}}
    return StudyConfig(name="s", data=data, split={"rare": ("df",)}, output_dir=str(runs))


def divided(study):
    images = read_images(study, quiet)
    step = stage.plan(study, images)
    make_artefact(step, lambda folder: stage.make(study, images, folder, quiet))
    return images, read_split(step.target, images.manifest.roots), read_json(step.target / "leakage.json")


def test_an_official_test_set_reaches_split_and_record(folder, tmp_path):
    folder, held, twin = folder
    images, split, record = divided(study(folder, tmp_path / "runs"))
    assert set(split.test.table["image_id"]) == held
    assert record["test"] == "official"
    assert twin in record["left_out"]
    assert split.left_out == set(record["left_out"])
    assert record["shared_groups"] == 0
    parts = sum(part["images"] for part in record["parts"].values())
    assert parts + len(record["left_out"]) == len(images.manifest) == 84
    assert record["random_split"][-1]["images"] == pytest.approx(len(held), abs=12)


def test_images_that_are_cut_otherwise_are_divided_anew_and_larger_ones_or_another_base_are_not(folder, tmp_path):
    config = study(folder[0], tmp_path / "runs")
    images = read_images(config, quiet)
    changes = ({}, {"pixels": PixelConfig(size=96)}, {"base": BaseConfig(source="owner/name")})
    same = {stage.plan(dataclasses.replace(config, **change), images).digest for change in changes}
    assert len(same) == 1
    padded = dataclasses.replace(config, pixels=PixelConfig(geometry="pad"))
    assert stage.plan(padded, images).digest not in same


def test_images_in_a_zip_have_the_contents_of_the_files(folder, tmp_path):
    folder, _, _ = folder
    images, plain, _ = divided(study(folder, tmp_path / "runs"))
    hashes = {path.stem: file_sha256(path) for path in (folder / "HAM10000_images_part_1").iterdir()}
    assert images.contents == hashes
    part = folder / "HAM10000_images_part_1"
    shutil.make_archive(str(part), "zip", part)
    shutil.rmtree(part)
    zipped, split, _ = divided(study(folder, tmp_path / "runs"))
    assert zipped.contents == hashes
    assert zipped.manifest.table["path"][0].startswith("HAM10000_images_part_1.zip/")
    for name, one in split.parts().items():
        assert one.table["image_id"].tolist() == plain.parts()[name].table["image_id"].tolist()


def test_a_fold_reaches_the_digest_and_the_record_and_no_folds_leave_both_as_they_were(folder, tmp_path):
    digests, tested = [], []
    for split in ({}, {"n_splits": 3, "fold": 0}, {"n_splits": 3, "fold": 1}):
        data = {"source": "ham10000", "folder": str(folder[0]), "labels": ("bkl", "df", "nv")}
        rare = {"rare": ("df",), **split}
        config = StudyConfig(name="s", data=data, split=rare, output_dir=str(tmp_path / "runs"))
        images, parts, record = divided(config)
        step = stage.plan(config, images)
        asked = step.inputs["split"]
        assert ("n_splits" in asked, "fold" in asked) == (bool(split), bool(split))
        assert record["test"] == (f"fold {split.get('fold', 0)} of 3" if split else "by share")
        digests.append(step.digest)
        tested.append(set(parts.test.table["image_id"]))
    assert len(set(digests)) == 3
    assert not tested[1] & tested[2]


def test_near_duplicates_are_searched_once_for_all_study_seeds(folder, tmp_path, monkeypatch):
    config = study(folder[0], tmp_path / "runs")
    images, searched, search = read_images(config, quiet), [], stage.leakage_groups
    monkeypatch.setattr(stage, "leakage_groups", lambda *given: searched.append(1) or search(*given))
    for number, seed in enumerate((0, 2)):
        (tmp_path / str(number)).mkdir()
        stage.make(dataclasses.replace(config, study_seeds=(seed,)), images, tmp_path / str(number), quiet)
    assert len(searched) == 1
    first, second = (read_split(tmp_path / name, images.manifest.roots) for name in "01")
    assert first.train.digest() != second.train.digest()
    assert first.test.digest() == second.test.digest()  # the official one
