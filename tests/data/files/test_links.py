"""Links of a data set are followed into it, and into folders that the config names; all others are refused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.errors import DataError
from data.files.archives import class_folders, image_files
from data.files.rules import FileRules, rules, use_rules
from data.masks import mask_paths
from data.sources.external import ExternalArm, read_external
from data.sources.load import DataConfig, load_manifest

OUT = r"is a link out of the data set, to .*elsewhere.*; name that folder in data\.follow_links .*, or copy it"


@pytest.fixture(autouse=True)
def _rules():
    before = rules()
    yield
    use_rules(before)


@pytest.fixture
def places(tmp_path):
    """A data set with a folder of its own images, and a folder elsewhere with others."""
    for place, first in (("set/own", 0), ("elsewhere", 3)):
        (tmp_path / place).mkdir(parents=True)
        for n in range(first, first + 3):
            noise = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / place / f"{n}.png")
    return tmp_path / "set", tmp_path / "elsewhere"


def table(folder, count):
    rows = {"image_id": [str(n) for n in range(count)], "label": ["nv", "mel"] * (count // 2)}
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return DataConfig(source="table", folder=str(folder), table="t.csv")


def follow(config, *folders):
    return DataConfig(**(vars(config) | {"follow_links": tuple(map(str, folders))}))


def names(paths):
    return sorted(path.name for path in paths)


def test_a_linked_folder_elsewhere_is_refused_by_name_and_followed_once_named(places, tmp_path):
    folder, elsewhere = places
    (folder / "more").symlink_to(elsewhere)
    config = table(folder, 6)
    with pytest.raises(DataError, match=rf"set/more: {OUT}"):
        load_manifest(config, tmp_path)
    assert len(load_manifest(follow(config, elsewhere), tmp_path)) == 6
    assert len(load_manifest(follow(config, tmp_path), tmp_path)) == 6, "a folder above it is named"


def test_linked_files_are_refused_and_followed_as_folders_are(places, tmp_path):
    folder, elsewhere = places
    for path in elsewhere.iterdir():
        (folder / "own" / path.name).symlink_to(path)
    with pytest.raises(DataError, match=rf"\.png: {OUT}"):
        image_files(folder)
    assert len(load_manifest(follow(table(folder, 6), elsewhere), tmp_path)) == 6


def test_class_folders_and_what_is_linked_within_them_are_never_left_out_unsaid(places, tmp_path):
    folder, elsewhere = places
    (folder / "linked").symlink_to(elsewhere)
    (folder / "own" / "site").symlink_to(elsewhere)
    config = DataConfig(source="folders", folder=str(folder))
    with pytest.raises(DataError, match=rf"set/linked: {OUT}"):
        class_folders(folder)
    with pytest.raises(DataError, match=OUT):
        load_manifest(config, tmp_path)
    assert load_manifest(follow(config, elsewhere), tmp_path).counts() == {"linked": 3, "own": 6}


def test_a_link_within_the_data_set_is_followed(places):
    folder, _ = places
    (folder / "again").symlink_to("own")
    assert names(image_files(folder)) == sorted([f"{n}.png" for n in range(3)] * 2)
    assert names(class_folders(folder)["again"]) == ["0.png", "1.png", "2.png"]


def test_a_data_set_that_is_itself_reached_by_a_link_is_read(places):
    folder, _ = places
    (folder.parent / "way").symlink_to(folder)
    assert len(image_files(folder.parent / "way")) == 3


def test_a_loop_is_refused_and_does_not_hang(places):
    folder, _ = places
    (folder / "own" / "loop").symlink_to(folder)
    with pytest.raises(DataError, match=r"own/loop: is a link to .*set, which holds it, so that it has no end; remove"):
        image_files(folder)
    (folder / "own" / "loop").unlink()
    (folder / "itself").symlink_to("itself")
    with pytest.raises(DataError, match=r"set/itself: is a link to itself, which is not there"):
        image_files(folder)


def test_a_broken_link_is_refused_by_name(places):
    folder, _ = places
    (folder / "own" / "gone.png").symlink_to("/nowhere/gone.png")
    with pytest.raises(DataError, match=r"own/gone\.png: is a link to /nowhere/gone\.png, which is not there; restore"):
        image_files(folder)


def test_a_zip_behind_a_link_is_no_way_out(places):
    folder, elsewhere = places
    (elsewhere / "more.zip").write_bytes(b"")
    (folder / "more.zip").symlink_to(elsewhere / "more.zip")
    with pytest.raises(DataError, match=rf"more\.zip: {OUT}"):
        image_files(folder)


def test_hidden_links_are_left_out_as_hidden_files_are(places):
    folder, elsewhere = places
    (folder / ".trash").symlink_to(elsewhere)
    (folder / "__MACOSX").symlink_to("/nowhere")
    assert len(image_files(folder)) == 3


def test_images_that_another_program_made_and_masks_stay_in_their_folders_too(places):
    folder, elsewhere = places
    (folder / "df").mkdir()
    (folder / "df" / "3.png").symlink_to(elsewhere / "3.png")
    pd.DataFrame({"file_name": ["df/3.png"], "label": ["df"]}).to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(DataError, match=OUT):
        read_external(ExternalArm(folder=str(folder)), ["df"])
    own = load_manifest(follow(table(folder / "own", 2), elsewhere), folder)
    use_rules(FileRules())
    (folder / "0_mask.png").symlink_to(elsewhere / "3.png")
    (folder / "1_mask.png").symlink_to(elsewhere / "4.png")
    with pytest.raises(DataError, match=OUT):
        mask_paths(folder, own)


def test_a_named_folder_that_is_not_there_is_said(places, tmp_path):
    folder, _ = places
    with pytest.raises(DataError, match=r"/nowhere: no such folder; `data\.follow_links` must be a folder of images"):
        load_manifest(follow(table(folder / "own", 2), "/nowhere"), tmp_path)
