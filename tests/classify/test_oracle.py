import numpy as np
import pytest

from classify.config import ClassifierConfig
from classify.metrics import wilson
from classify.oracle import (
    STUDY_SEEDS,
    OracleConfig,
    main,
    oracle_predictions,
    reaches_aim,
    recognised,
    train_oracle,
    true_phantoms,
)
from classify.predict import Predictions
from data.config import parse
from data.errors import ConfigError, DataError
from data.phantoms.table import CODES
from data.pixels import PixelConfig

TINY = OracleConfig(
    images=140,
    pixels=PixelConfig(size=16),
    classifier=ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2),
)


@pytest.mark.slow
def test_the_oracle_is_trained_once_and_classifies_phantoms_that_it_has_not_seen(tmp_path):
    model = train_oracle(tmp_path, TINY)
    made = (model / "model.safetensors").stat().st_mtime_ns
    assert train_oracle(tmp_path, TINY) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == made
    predictions = oracle_predictions(model, true_phantoms(tmp_path, TINY, 4))
    assert predictions.classes == CODES
    assert [recognised(predictions, label).n for label in CODES] == [4] * 7


def test_recognised_counts_the_images_of_one_class():
    predictions = Predictions(
        image_ids=("a", "b", "c"), classes=("df", "nv"), probabilities=np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]]),
        labels=("df", "df", "nv"),
    )  # fmt: skip
    assert recognised(predictions, "df") == wilson(1, 2)
    assert recognised(predictions, "nv") == wilson(0, 1)
    with pytest.raises(DataError, match="nothing is known of 'mel'"):
        recognised(predictions, "mel")


@pytest.mark.parametrize(
    ("true", "before", "after", "reached"), [(8, 1, 4, True), (8, 1, 3, False), (4, 1, 4, True), (4, 2, 4, False)]
)
def test_the_aim_is_half_of_the_true_recall_and_0_3_above_the_base(true, before, after, reached):
    assert reaches_aim(wilson(true, 10), wilson(before, 10), wilson(after, 10)) is reached


def test_a_study_cannot_share_the_seeds_of_the_oracle():
    with pytest.raises(ConfigError, match="seed"):
        parse(OracleConfig, {"seed": STUDY_SEEDS - 1}, "oracle")


def test_an_oracle_of_too_few_phantoms_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(ValueError, match="greater than or equal to 70"):
        OracleConfig(images=7)
    with pytest.raises(ConfigError, match="3 images a class are too few"):
        true_phantoms(tmp_path, TINY, 3)
    assert main(["--out", str(tmp_path), "--steps", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
