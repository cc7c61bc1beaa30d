import pytest

from classify.config import ClassifierConfig, what_decides
from data.config import parse
from data.errors import ConfigError


def test_what_only_changes_speed_decides_nothing():
    plain = what_decides(ClassifierConfig())
    assert what_decides(ClassifierConfig(threads=1)) == plain
    assert "augment_on" not in plain  # so that what was trained before there was the setting is kept
    assert what_decides(ClassifierConfig(augment_on="device")) == {**plain, "augment_on": "device"}
    assert what_decides(ClassifierConfig(steps=7)) != plain


def test_a_place_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="augment_on: Input should be 'auto', 'cpu' or 'device'"):
        parse(ClassifierConfig, {"augment_on": "gpu"}, "x.yaml")
