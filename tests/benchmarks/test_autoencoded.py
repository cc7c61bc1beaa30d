"""The control arm's images are the train part's, coded, and nothing of the parts that judge."""

from pathlib import Path

import autoencoded
import numpy as np
import pytest

from classify.arms import compose
from data.pixels import PixelConfig, read_image
from flows.prepare import read_images, read_split, split_step
from flows.study import load_study

STUDY = """
name: control
data: {phantom: {images: 90, balanced: true}}
split: {rare: [df, vasc], shots: 4}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "control.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_what_oversampling_repeats_is_there_and_nearly_itself(study: Path, tmp_path: Path):
    out, settings = tmp_path / "coded", [f"runs={tmp_path / 'runs'}", "fill_to=20"]
    assert autoencoded.main([str(study), str(out), *settings]) == 0
    config = load_study(study, settings)
    images = read_images(config, lambda *_: None)
    train = read_split(split_step(config, images).target, images.manifest.roots).train
    oversampled = compose("oversampled", train, None, ("df", "vasc"), 20).table
    assert sorted(path.name for path in out.iterdir()) == ["df", "vasc"]
    for label in ("df", "vasc"):
        added = oversampled[(oversampled["label"] == label) & oversampled["image_id"].str.contains("~")]
        written = sorted((out / label).iterdir())
        repeated = [name.partition("~")[0] for name in added["image_id"]]
        assert [path.stem.partition("-")[2] for path in written] == repeated
        place = dict(zip(train.table["image_id"], train.paths(), strict=True))
        for path in written:
            real = place[path.stem.partition("-")[2]]
            error = np.square(np.subtract(*[read_image(p, PixelConfig()) for p in (path, real)], dtype=float)).mean()
            assert 0 < error < 255**2 / 10**2.8  # another image, better than 28 dB


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert autoencoded.main([str(tmp_path / "none.yaml"), str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
