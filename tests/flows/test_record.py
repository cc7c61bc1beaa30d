"""The pictures that a run keeps for its report."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.manifest import COLUMNS, Manifest
from flows.record import THUMBS, _write_thumbs


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


def test_where_no_photograph_is_to_be_shown_none_is_kept_nor_one_of_an_earlier_run(train, tmp_path):
    _write_thumbs(tmp_path / "thumbs", train, "real")
    _write_thumbs(tmp_path / "thumbs", train, "real", 0)
    assert list((tmp_path / "thumbs" / "df").iterdir()) == []
