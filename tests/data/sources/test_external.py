from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.config import parse
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS, Manifest
from data.sources.external import (
    LEFT_OUT,
    ExternalArm,
    choose_external,
    external_provenance,
    find_copies,
    originals_of,
    read_external,
    refuse_copies,
    sample_external,
)
from data.splits.provenance import Provenance
from data.splits.split import PARTS, Split
from data.store import write_json

LABELS = ("df", "mel", "nv", "vasc")


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((80, 64), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def by_class(tmp_path):
    for label, n in {"df": 5, "vasc": 3}.items():
        for i in range(n):
            picture(tmp_path / label / f"{i}.png", i)
    return ExternalArm(folder=str(tmp_path), name="theirs")


@pytest.fixture
def listed(tmp_path):
    """An image folder as our own generator leaves it."""
    for i in range(3):
        picture(tmp_path / "images" / f"df-{i}.jpg", i)
    rows = [{"file_name": f"images/df-{i}.jpg", "label": "df", "prompt": "a picture"} for i in range(3)]
    pd.DataFrame(rows).to_csv(tmp_path / "metadata.csv", index=False)
    return ExternalArm(folder=str(tmp_path))


def rewrite(arm, text):
    (Path(arm.folder) / "metadata.csv").write_text(text, encoding="utf-8")


def test_a_folder_a_class_is_read_as_synthetic_images_of_unknown_lineage(by_class):
    images = read_external(by_class, LABELS)
    assert images.counts() == {"df": 5, "vasc": 3}
    assert set(images.table["source"]) == {"synthetic"}
    assert set(images.table["lineage"]) == {"unknown"}
    assert images.table["group_id"].nunique() == 8
    assert all(path.is_file() for path in images.paths())


def test_an_image_folder_with_its_table_is_read_by_the_table(listed):
    images = read_external(listed, LABELS)
    assert images.counts() == {"df": 3}
    assert images.table["path"].tolist() == [f"images/df-{i}.jpg" for i in range(3)]


def test_the_folder_s_name_may_hold_a_variable(by_class, monkeypatch):
    monkeypatch.setenv("MADE", by_class.folder)
    assert len(read_external(ExternalArm(folder="$MADE"), LABELS)) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\nimages/df-0.jpg,df\n", r"metadata.csv: no column 'file_name'; it has file, label"),
        ("file_name,label\n", "metadata.csv: has no rows"),
        ("file_name,label\nimages/df-0.jpg,\n", "row 2: has no label"),
        ("file_name,label\n,df\n", "row 2: has no file_name"),
        ("file_name,label\nimages/df-0.jpg,df\nimages/df-9.jpg,df\n", "row 3: no image 'images/df-9.jpg'"),
        ("file_name,label\n../df-0.jpg,df\n", "row 2: '../df-0.jpg' leads out of the folder"),
        ("file_name,label\nimages/df-0.jpg,df\nimages/df-0.jpg,df\n", "row 3: names 'images/df-0.jpg' a second time"),
        ("file_name,label\nimages/df-0.jpg,vask\n", r"row 2: the label 'vask' is none of the study's; .*\(vasc\?\)"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_its_row(listed, text, words):
    rewrite(listed, text)
    with pytest.raises(DataError, match=words) as refused:
        read_external(listed, LABELS)
    assert "\n" not in str(refused.value)


def test_folders_that_cannot_be_used_are_refused_by_name(by_class, tmp_path):
    picture(tmp_path / "zebra" / "0.png")
    with pytest.raises(DataError, match=r"zebra: the label 'zebra' is none of the study's"):
        read_external(by_class, LABELS)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: holds neither metadata.csv nor a folder of images a class"):
        read_external(ExternalArm(folder=str(tmp_path / "none")), LABELS)
    with pytest.raises(DataError, match="nowhere: no such folder; arm 'external'"):
        read_external(ExternalArm(folder="nowhere"), LABELS)


def test_as_many_as_are_wanted_are_drawn_by_the_seed_and_none_twice(by_class):
    images = read_external(by_class, LABELS)
    chosen = sample_external(images, {"df": 3, "vasc": 0}, seed=1)
    assert chosen.counts() == {"df": 3}
    assert chosen.table["path"].is_unique
    assert sample_external(images, {"df": 3}, seed=1).digest() == chosen.digest()
    assert len({sample_external(images, {"df": 3}, seed=seed).digest() for seed in range(8)}) > 1


def test_too_few_images_are_refused(by_class):
    images = read_external(by_class, LABELS)
    with pytest.raises(DataError, match=r"'df' needs 9 images, as many as the other arms add, but 5 are there; add"):
        sample_external(images, {"df": 9}, seed=0)
    with pytest.raises(DataError, match=r"'nv' needs 1 images, .* but 0 are there"):
        sample_external(images, {"nv": 1}, seed=0)


def test_a_turned_copy_of_a_photograph_is_found_and_another_picture_is_not():
    def drawn(seed):
        noise = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC))

    photographs = np.stack([drawn(seed) for seed in range(4)])
    made = np.stack([drawn(9), np.rot90(photographs[2]), drawn(9)])
    assert find_copies(made, of=photographs) == [(1, 2)]
    assert find_copies(made[:0], of=photographs) == []


def test_an_invalid_setting_is_refused():
    with pytest.raises(ConfigError, match="name"):
        parse(ExternalArm, {"folder": "x", "name": "../x"}, "arm")
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        parse(ExternalArm, {"foldr": "x"}, "arm")


def test_choosing_reads_and_draws(by_class):
    wanted = {"df": 2, "vasc": 1}
    chosen = choose_external(by_class, LABELS, wanted, 3)
    assert chosen.digest() == sample_external(read_external(by_class, LABELS), wanted, 3).digest()
    assert chosen.counts() == wanted


def photographs(*ids):
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": ids, "label": "df"}
    return Manifest(pd.DataFrame({**columns, "root": "r", "source": "real"}), {"r": Path()})


def test_copies_of_evaluation_images_are_refused_by_name_and_those_of_train_are_not(by_class):
    chosen = read_external(by_class, LABELS)
    originals = {"train": photographs("a"), "validation": photographs("b"), "test": photographs("c", "d")}
    refuse_copies(chosen, originals, {"train": [(0, 0)], "validation": [], "test": []})
    words = (
        r"df/1\.png: shows nearly the same as d of the test part; its generator has seen images that evaluate the "
        r"classifier: make the images anew from the train part alone \(and 1 more\)$"
    )
    with pytest.raises(DataError, match=words):
        refuse_copies(chosen, originals, {"train": [(0, 0)], "test": [(1, 1), (2, 0)]})
    with pytest.raises(DataError, match="as e of the left-out part"):
        refuse_copies(chosen, {LEFT_OUT: photographs("e")}, {LEFT_OUT: [(0, 0)]})


def test_originals_are_the_parts_and_what_was_left_out_of_them():
    split = Split(photographs("a"), photographs("b"), photographs("c"), frozenset("d"))
    found = originals_of(split, photographs(*"abcd"))
    assert {name: part.table["image_id"].tolist() for name, part in found.items()} == {
        "train": ["a"], "validation": ["b"], "test": ["c"], "left-out": ["d"],
    }  # fmt: skip
    assert list(originals_of(Split(*split.parts().values()), photographs(*"abc"))) == list(PARTS)


def test_a_folder_s_provenance_is_that_of_its_record_and_unknown_without(tmp_path):
    assert external_provenance(tmp_path) == Provenance.unknown()
    for record in ("no mapping", {}, {"provenance": 3}):
        write_json(tmp_path / "generation.json", record)
        assert external_provenance(tmp_path) == Provenance.unknown()
    provenance = Provenance.of(photographs("a", "b"))
    write_json(tmp_path / "generation.json", {"provenance": provenance.to_record()})
    assert external_provenance(tmp_path) == provenance


@pytest.mark.parametrize("damaged", [b"", b'{"provenance": {', b"\xff\xfe"])
def test_a_damaged_provenance_is_not_taken_for_an_unknown_one(tmp_path, damaged):
    (tmp_path / "generation.json").write_bytes(damaged)
    with pytest.raises(DataError, match=r"generation\.json: is damaged \(.*\); copy it anew, or remove it"):
        external_provenance(tmp_path)
