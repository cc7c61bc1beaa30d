import pytest

from classify.config import ClassifierConfig, result_settings
from data.config import parse
from data.errors import ConfigError


def test_what_only_changes_speed_decides_nothing():
    plain = result_settings(ClassifierConfig())
    assert result_settings(ClassifierConfig(threads=1)) == plain
    assert "augment_device" not in plain
    assert result_settings(ClassifierConfig(augment_device="device")) == {**plain, "augment_device": "device"}
    assert result_settings(ClassifierConfig(steps=7)) != plain


def test_a_temperature_and_test_views_decide_something_once_they_are_asked_for():
    plain = result_settings(ClassifierConfig())
    assert not {"calibrate", "test_views", "soft_labels"} & set(plain)  # or every earlier arm would have another digest
    changed = result_settings(ClassifierConfig(calibrate=True, test_views=8, soft_labels=True))
    assert changed == {**plain, "calibrate": True, "test_views": 8, "soft_labels": True}


def test_a_number_of_views_that_is_not_offered_is_refused():
    with pytest.raises(ConfigError, match="test_views: Input should be 1 or 8"):
        parse(ClassifierConfig, {"test_views": 4}, "x.yaml")


def test_a_place_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="augment_device: Input should be 'auto', 'cpu' or 'device'"):
        parse(ClassifierConfig, {"augment_device": "gpu"}, "x.yaml")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"weights": "phantoms", "model": "resnet18"},
            "weights: phantoms are those of efficientnet_b0; set model: ",
        ),
        (
            {"weights": "lite0-package"},
            "weights: lite0-package are those of tf_efficientnet_lite0; set model",
        ),
        ({"synthetic_draws": 0}, "synthetic_draws: Input should be greater than 0"),
        ({"synthetic_draws": 1}, "synthetic_draws: Input should be less than 1"),
        ({"synthetic_loss": 1}, "synthetic_loss: Input should be less than 1"),
        ({"synthetic_first": 1}, "synthetic_first: Input should be less than 1"),
        ({"mixup": -1}, "mixup: Input should be greater than or equal to 0"),
        ({"augmentation": "strong"}, "augmentation: Input should be 'light' or 'randaugment'"),
        ({"checkpoint": "first"}, "checkpoint: Input should be 'last' or 'best'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        parse(ClassifierConfig, settings, "x.yaml")


def test_synthetic_images_may_be_drawn_by_their_number():
    config = parse(ClassifierConfig, {"synthetic_draws": None}, "x.yaml")
    assert config.synthetic_draws is None
    assert result_settings(config) != result_settings(ClassifierConfig())
