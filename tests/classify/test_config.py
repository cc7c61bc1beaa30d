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


def test_a_place_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="augment_device: Input should be 'auto', 'cpu' or 'device'"):
        parse(ClassifierConfig, {"augment_device": "gpu"}, "x.yaml")
