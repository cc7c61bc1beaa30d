import json

import pytest

from augment.methods import RECORD, apply_adapter, method_for, trained
from augment.methods.dreambooth import DreamBooth
from augment.methods.lora import Lora
from data.errors import BaseError

BASE = {"source": "tiny", "sha256": "a" * 64}


@pytest.fixture
def adapter(pipe, tmp_path):
    method = Lora(rank=2, conv=False)
    method.save(method.open(pipe, 0), tmp_path)
    config = {"rank": 2, "conv": False, "text_encoder": False}
    (tmp_path / RECORD).write_text(json.dumps({"method": "lora", "config": config, "base": BASE}))
    return tmp_path


def test_methods_go_by_name():
    assert method_for("lora", rank=4, conv=False) == Lora(rank=4, conv=False)
    assert method_for("dreambooth", text_encoder=True) == DreamBooth(text_encoder=True)
    with pytest.raises(ValueError, match="'dream' is neither"):
        method_for("dream")


def test_what_is_trained_is_listed_in_one_order(pipe):
    names = [list(trained(Lora(rank=2).open(pipe, 0))) for _ in range(2)]
    assert names[0] == names[1]


def test_an_adapter_is_applied_with_its_own_settings(pipe, adapter):
    assert apply_adapter(pipe, adapter, BASE).unet is not pipe.unet


def test_the_same_weights_elsewhere_are_the_same_base(pipe, adapter):
    apply_adapter(pipe, adapter, {**BASE, "source": "elsewhere"})


@pytest.mark.parametrize(
    "other", [{"source": "tiny", "sha256": "b" * 64}, {"source": "owner/name", "revision": "main"}]
)
def test_an_adapter_of_another_base_is_refused_by_name(pipe, adapter, other):
    with pytest.raises(BaseError, match=r"made for the base tiny \(aaaaaaaaaaaa\), not for (tiny|owner/name)"):
        apply_adapter(pipe, adapter, other)


def test_a_folder_without_a_finished_adapter_is_refused(pipe, tmp_path):
    with pytest.raises(BaseError, match="no finished adapter"):
        apply_adapter(pipe, tmp_path, BASE)
