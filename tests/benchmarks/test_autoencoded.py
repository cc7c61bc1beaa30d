"""The control arm's images are the train part's, coded, and nothing of the parts that judge."""

from pathlib import Path

import autoencoded
import numpy as np
import pytest

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


def test_each_rare_image_of_the_train_part_is_there_and_nearly_itself(study: Path, tmp_path: Path):
    out, runs = tmp_path / "coded", f"runs={tmp_path / 'runs'}"
    assert autoencoded.main([str(study), str(out), runs]) == 0
    config = load_study(study, [runs])
    images = read_images(config, lambda *_: None)
    train = read_split(split_step(config, images).target, images.manifest.roots).train
    assert sorted(path.name for path in out.iterdir()) == ["df", "vasc"]
    for label in ("df", "vasc"):
        real = train.of(label)
        assert sorted(path.stem for path in (out / label).iterdir()) == sorted(real.table["image_id"])
        for name, path in zip(real.table["image_id"], real.paths(), strict=True):
            pixels = [read_image(each, PixelConfig()) for each in (path, out / label / f"{name}.png")]
            error = np.square(np.subtract(*pixels, dtype=float)).mean()
            assert 0 < error < 255**2 / 10**2.8  # another image, better than 28 dB


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert autoencoded.main([str(tmp_path / "none.yaml"), str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
