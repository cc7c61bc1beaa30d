"""The pictures that a run keeps for its report."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.generate.config import GenerateConfig
from augment.generate.edit_config import EditConfig
from augment.generate.mark import SYNTHETIC, origin_of, stamped
from data.errors import InputError
from data.manifest import COLUMNS, Manifest
from flows import thumbnails
from flows.study import StudyConfig
from flows.thumbnails import remove_real_images, write_thumbnails

MOST = 12


@pytest.fixture
def train(tmp_path):
    """One class of 30 images, two a group."""
    ids = [f"im{n:02d}" for n in range(30)]
    for n, image in enumerate(ids):
        Image.fromarray(np.full((20, 20, 3), 8 * n, np.uint8)).save(tmp_path / f"{image}.png")
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": [f"{image}.png" for image in ids]}
    table = pd.DataFrame({**columns, "group_id": [f"g{n // 2}" for n in range(30)], "label": "df"})
    return Manifest(table.assign(root="r", source="real"), {"r": tmp_path})


@pytest.fixture
def gallery(train, tmp_path, monkeypatch):
    """Gives the thumbnails by path, once a study has written them with one arm of external images."""

    def written(train=train, arm="theirs", stages=("external",), **settings):
        study = StudyConfig(name="one", output_dir=str(tmp_path), **settings)
        monkeypatch.setattr(thumbnails.images, "read_images", lambda plan: None)
        monkeypatch.setattr(thumbnails.external, "read_images", lambda plan, name: train.of("df"))
        prepared = SimpleNamespace(study=study, split=SimpleNamespace(train=train))
        write_thumbnails(
            SimpleNamespace(prepared=prepared, steps_of=lambda stage: [SimpleNamespace(what=arm)] * (stage in stages))
        )
        thumbs = study.records / "thumbs"
        return {path.relative_to(thumbs).as_posix(): path for path in thumbs.rglob("*") if path.is_file()}

    return written


def test_a_few_pictures_of_distinct_groups_are_kept(gallery):
    kept = [path for name, path in gallery().items() if name.startswith("df/real-")]
    assert len(kept) == MOST
    greys = [round(np.asarray(Image.open(path)).mean() / 8) for path in kept]
    assert len({n // 2 for n in greys}) == MOST


def test_pictures_that_no_camera_took_bear_the_mark_and_photographs_do_not(gallery):
    kept = gallery()
    for n in range(MOST):
        real, made = (Image.open(kept[f"df/{source}-{n}.jpg"]) for source in ("real", "arm.theirs."))
        assert (origin_of(real), origin_of(made)) == ("", SYNTHETIC)
        assert np.ptp(np.asarray(real)) < 4
        np.testing.assert_allclose(np.asarray(made), stamped(np.asarray(real)), atol=60)
        assert np.ptp(np.asarray(made)) > 150


@pytest.mark.parametrize("embedded", [True, False])
def test_no_picture_stays_of_a_label_or_an_arm_that_the_study_no_longer_has(gallery, train, embedded):
    both = Manifest(train.table.assign(label=["df", "df", "nv"] * 10), train.roots)
    assert {"df/real-0.jpg", "nv/real-0.jpg", "df/arm.theirs.-0.jpg"} < set(gallery(both))
    kept = gallery(arm="mine", embed_real_images=embedded)
    sources = ["arm.mine.", "real"] if embedded else ["arm.mine."]
    assert set(kept) == {f"df/{source}-{n}.jpg" for source in sources for n in range(MOST)}


def test_what_earlier_runs_kept_of_the_data_set_is_removed_and_nothing_else(gallery, tmp_path):
    kept = gallery()
    folder = tmp_path / "one"
    for name in ("report.html", ".report.html.123.tmp", "run.json"):
        (folder / name).write_text("x")
    remove_real_images(folder)
    assert not [path for name, path in kept.items() if name.startswith("df/real-") and path.exists()]
    assert kept["df/arm.theirs.-0.jpg"].exists()
    assert {path.name for path in folder.iterdir()} == {"thumbs", "run.json"}
    remove_real_images(tmp_path / "never-there")


def test_real_images_of_repeats_are_removed_too(gallery, tmp_path):
    kept = gallery(is_repeat=True)
    assert all("one/repeats/seed-0/thumbs" in path.as_posix() for path in kept.values())
    (tmp_path / "one" / "repeats" / "seed-0" / "report.html").write_text("x")
    remove_real_images(tmp_path / "one")
    assert not [path for name, path in kept.items() if name.startswith("df/real-") and path.exists()]
    assert not (tmp_path / "one" / "repeats" / "seed-0" / "report.html").exists()


def test_a_picture_that_cannot_be_removed_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html: holds images of the data set, .* cannot be removed \("):
        remove_real_images(tmp_path)


def test_a_synthetic_image_and_its_nearest_photograph_stay_out_where_real_images_do(
    gallery, train, monkeypatch, tmp_path
):
    pair = thumbnails.gate.Pair(train.paths()[0], train.paths()[1])
    monkeypatch.setattr(thumbnails.gate, "nearest_pairs", lambda plan, label, most: [pair] * most)

    def kept(**settings):
        return [name for name in gallery(stages=("gate",), arm="df", **settings) if "/pair-" in name]

    assert len(kept()) == 12
    for name, path in gallery(stages=("gate",), arm="df").items():
        if "/pair-" in name:
            with Image.open(path) as picture:
                assert origin_of(picture) == (SYNTHETIC if name.endswith("synthetic.jpg") else ""), name
    assert kept(embed_real_images=False) == []
    gallery(stages=("gate",), arm="df")
    remove_real_images(tmp_path / "one")
    assert list((tmp_path / "one").rglob("pair-*")) == []


@pytest.mark.parametrize("embedded", [True, False])
def test_edited_images_which_show_much_of_photographs_are_kept_out_where_photographs_are(
    train, tmp_path, monkeypatch, embedded
):
    edits = GenerateConfig(edit=EditConfig())
    study = StudyConfig(name="one", output_dir=str(tmp_path), embed_real_images=embedded, generate=edits)
    monkeypatch.setattr(thumbnails.images, "read_images", lambda plan: train)
    prepared = SimpleNamespace(study=study, split=SimpleNamespace(train=train))
    write_thumbnails(SimpleNamespace(prepared=prepared, steps_of=lambda stage: []))
    assert bool(list((study.records / "thumbs").rglob("synthetic-*.jpg"))) == embedded
