import json

import pytest

from augment.methods.lora import LoraConfig
from augment.methods.record import RECORD
from augment.methods.table import METHODS, read_adapter
from data.errors import BaseError, ConfigError

BASE = {"source": "tiny", "sha256": "a" * 64}
CONFIG = LoraConfig(rank=2, conv_layers=False)


@pytest.fixture
def adapter(pipe, tmp_path, write_adapter_record):
    trainable = CONFIG.trainable(pipe, pipe.device)
    trainable.save(trainable.parameters(0), tmp_path)
    write_adapter_record(tmp_path, CONFIG, BASE)
    return tmp_path


def changed(folder, **values):
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, **values}))


def test_a_method_goes_by_the_name_that_its_settings_have():
    for name, settings in METHODS.items():
        assert settings().method == name
        assert settings.display_name.lower().replace(" ", "-") == name


def test_an_adapter_is_opened_with_its_own_settings(pipe, adapter, with_adapter):
    opened = read_adapter(adapter, BASE)
    assert opened == CONFIG.adapter(adapter)
    assert with_adapter(pipe, opened).unet is not pipe.unet


def test_the_same_weights_in_another_folder_are_the_same_base(adapter):
    read_adapter(adapter, {**BASE, "source": "copied"})


@pytest.mark.parametrize(
    "other", [{"source": "tiny", "sha256": "b" * 64}, {"source": "owner/name", "revision": "main"}]
)
def test_an_adapter_of_another_base_is_refused_by_name(adapter, other):
    with pytest.raises(BaseError, match=r"made for the base tiny \(aaaaaaaaaaaa\), not for (tiny|owner/name)"):
        read_adapter(adapter, other)


def test_a_record_of_an_unknown_method_or_setting_is_refused(adapter):
    changed(adapter, method="dream")
    with pytest.raises(BaseError, match=r"method 'dream' is none of lora, dreambooth, .*, hypernetwork, controlnet;"):
        read_adapter(adapter, BASE)
    changed(adapter, method="lora", config={"rnak": 2})
    with pytest.raises(ConfigError, match=r"adapter\.json: rnak: unknown key; did you mean 'rank'\?"):
        read_adapter(adapter, BASE)
