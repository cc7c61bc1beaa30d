"""The pictures that a run keeps for its report."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.manifest import COLUMNS, Manifest
from data.splits import Split
from flows.record import THUMBS, _write_gallery, _write_thumbs
from flows.study import StudyConfig


@pytest.fixture
def train(tmp_path):
    """One class of 30 images, two a group."""
    ids = [f"im{n:02d}" for n in range(30)]
    for n, image in enumerate(ids):
        Image.fromarray(np.full((20, 20, 3), 8 * n, np.uint8)).save(tmp_path / f"{image}.png")
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": [f"{image}.png" for image in ids]}
    table = pd.DataFrame({**columns, "group_id": [f"g{n // 2}" for n in range(30)], "label": "df"})
    return Manifest(table.assign(root="r", source="real"), {"r": tmp_path})


def test_a_few_pictures_of_distinct_groups_are_kept(train, tmp_path):
    _write_thumbs(tmp_path / "thumbs", train, "real")
    kept = sorted((tmp_path / "thumbs" / "df").iterdir())
    assert len(kept) == THUMBS
    greys = [round(np.asarray(Image.open(path)).mean() / 8) for path in kept]
    assert len({n // 2 for n in greys}) == THUMBS


@pytest.fixture
def gallery(train, tmp_path):
    """Gives the thumbnails by path, once a study has written them with one arm of images made elsewhere."""

    def written(train=train, arm="theirs", **settings):
        config = StudyConfig(name="one", runs=str(tmp_path), **settings)
        given = {arm: SimpleNamespace(read=lambda: train.of("df"))}
        none = train.where(train.table["label"] == "")
        _write_gallery(config, Split(train, none, none), {}, given)
        thumbs = config.folder / "thumbs"
        return {path.relative_to(thumbs).as_posix() for path in thumbs.rglob("*") if path.is_file()}

    return written


@pytest.mark.parametrize("photographs", [True, False])
def test_no_picture_stays_of_a_label_or_an_arm_that_the_study_no_longer_has(gallery, train, photographs):
    both = Manifest(train.table.assign(label=["df", "df", "nv"] * 10), train.roots)
    assert {"df/real-0.jpg", "nv/real-0.jpg", "df/arm.theirs.-0.jpg"} < gallery(both)
    kept = gallery(arm="mine", photographs=photographs)
    sources = ["arm.mine.", "real"] if photographs else ["arm.mine."]
    assert kept == {f"df/{source}-{n}.jpg" for source in sources for n in range(THUMBS)}
