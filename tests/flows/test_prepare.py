"""Images from zips, with an official test set, through hashing, split and ledger."""

import dataclasses
import re
import shutil

import pytest

from data.errors import DataError
from data.phantoms.table import PhantomConfig, write_phantoms
from data.pixels import PixelConfig
from data.store import file_sha256, read_json
from flows.prepare import read_images, read_split, split_step
from flows.study import StudyConfig


def watch(done, total, note=""):
    pass


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
    return StudyConfig(name="s", data=data, split={"rare": ("df",)}, runs=str(runs))


def split_of(config):
    images = read_images(config, watch)
    step = split_step(config, images)
    step(watch)
    return images, step.digest, read_split(step.target, images.manifest.roots), read_json(step.target / "ledger.json")


def test_an_official_test_set_reaches_split_and_ledger(folder, tmp_path):
    folder, held, twin = folder
    images, _, split, ledger = split_of(study(folder, tmp_path / "runs"))
    assert set(split.test.table["image_id"]) == held
    assert ledger["test"] == "official"
    assert twin in ledger["left_out"]
    assert split.left_out == set(ledger["left_out"])
    assert ledger["shared_groups"] == 0
    parts = sum(part["images"] for part in ledger["parts"].values())
    assert parts + len(ledger["left_out"]) == len(images.manifest) == 84
    assert ledger["random_split"][-1]["images"] == pytest.approx(len(held), abs=12)


def test_images_that_are_cut_otherwise_are_divided_anew_and_larger_ones_are_not(folder, tmp_path):
    config = study(folder[0], tmp_path / "runs")
    images = read_images(config, watch)
    before, larger, padded = (
        split_step(dataclasses.replace(config, pixels=PixelConfig(**changes)), images).digest
        for changes in ({}, {"size": 96}, {"geometry": "pad"})
    )
    assert before == larger != padded


def test_images_in_a_folder_are_not_said_to_be_kept_and_phantoms_are_once_they_are_drawn(folder, tmp_path):
    there = [read_images(study(folder[0], tmp_path / "runs"), watch) for _ in range(2)]
    assert [re.sub(r"\d+ s", "0 s", images.outcome) for images in there] == ["84 images of 7 classes, 0 s"] * 2
    phantoms = StudyConfig(runs=str(tmp_path), data={"phantom": {"images": 28, "balanced": True, "width": 64}})
    first, again = (read_images(phantoms, watch).outcome for _ in range(2))
    assert "28 images of 7 classes, " in first
    assert "kept" not in first
    assert again == "28 images of 7 classes, kept from before"


def test_an_image_that_cannot_be_read_is_named(folder, tmp_path, monkeypatch):
    def locked(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("flows.prepare.sha256_of", locked)
    with pytest.raises(DataError, match=r"\.jpg: cannot be read \(Permission denied\); restore it, or its rights"):
        read_images(study(folder[0], tmp_path / "runs"), watch)


def test_images_in_a_zip_have_the_contents_of_the_files(folder, tmp_path):
    folder, _, _ = folder
    images, _, plain, _ = split_of(study(folder, tmp_path / "runs"))
    hashes = {path.stem: file_sha256(path) for path in (folder / "HAM10000_images_part_1").iterdir()}
    assert images.contents == hashes
    part = folder / "HAM10000_images_part_1"
    shutil.make_archive(str(part), "zip", part)
    shutil.rmtree(part)
    zipped, _, split, _ = split_of(study(folder, tmp_path / "runs"))
    assert zipped.contents == hashes
    assert zipped.manifest.table["path"][0].startswith("HAM10000_images_part_1.zip/")
    for name, one in split.parts().items():
        assert one.table["image_id"].tolist() == plain.parts()[name].table["image_id"].tolist()


def test_a_fold_reaches_the_digest_and_the_ledger_and_no_folds_leave_both_as_they_were(folder, tmp_path):
    folder, _, _ = folder
    digests, tested = [], []
    for split in ({}, {"folds": 3}, {"folds": 3, "fold": 1}):
        data = {"source": "ham10000", "folder": str(folder), "labels": ("bkl", "df", "nv")}
        config = StudyConfig(name="s", data=data, split={"rare": ("df",), **split}, runs=str(tmp_path / "runs"))
        images, digest, made, ledger = split_of(config)
        asked = split_step(config, images).inputs["split"]
        assert ("folds" in asked, "fold" in asked) == (bool(split), bool(split))
        assert ledger["test"] == (f"fold {split.get('fold', 0)} of 3" if split else "by share")
        digests.append(digest)
        tested.append(set(made.test.table["image_id"]))
    assert len(set(digests)) == 3
    assert not tested[1] & tested[2]
