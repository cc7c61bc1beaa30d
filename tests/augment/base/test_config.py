"""Settings of a base, and bases that do not exist."""

import pytest

from augment.base.config import TINY, BaseConfig, OwnBaseConfig, require_base
from augment.base.tiny_model import TinyModelConfig
from data.errors import BaseError

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"init_from": "pretrain"}, "is not a trained base"),
        ({"init_from": "scratch", "autoencoder": None}, "no trained autoencoder"),
        ({"model": TinyModelConfig(text_width=64)}, "`model` is that of tiny already"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(settings: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        OwnBaseConfig(**settings)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ({"source": "/nowhere/base"}, r"base\.source: /nowhere/base: no such file or folder; give `tiny`, a hub id"),
        ({"source": "nonsense"}, r"base\.source: nonsense: no such file or folder; give `tiny`"),
        ({"source": "a/b/c"}, r"base\.source: a/b/c: no such file or folder; give `tiny`"),
        ({"source": "x/base.ckpt"}, r"base\.source: x/base\.ckpt: no such file or folder; give `tiny`"),
        ({"source": str(TINY / "unet")}, r"base\.source: .*unet has no model_index\.json, .*; name one that has"),
        (
            {"source": str(TINY / "training.json")},
            r"base\.source: .*training\.json is a file of another kind; name a diffusers",
        ),
        ({"source": str(TINY / UNET)}, r"base\.source: .*: a single file needs base\.config, a diffusers folder"),
        ({"source": str(TINY / UNET), "config": "/nowhere"}, r"base\.config: /nowhere: no such folder; name a"),
        (
            {"source": "pretrain", "pretrain": OwnBaseConfig(init_from="/no")},
            r"base\.pretrain\.init_from: /no: no such file",
        ),
    ],
    ids=str,
)
def test_a_base_that_does_not_exist_is_refused_before_anything_is_read(base: dict[str, object], reason: str):
    with pytest.raises(BaseError, match=f"^{reason}"):
        require_base(BaseConfig(**base))


def test_a_base_that_may_exist_is_left_to_loading():
    scratch = OwnBaseConfig(init_from="scratch", autoencoder={})
    for base in (BaseConfig(), BaseConfig(source="owner/name"), BaseConfig(source=str(TINY))):
        require_base(base)
    for own in (scratch, OwnBaseConfig(init_from=str(TINY)), OwnBaseConfig()):
        require_base(BaseConfig(source="pretrain", pretrain=own))


def test_a_base_of_the_studys_own_has_a_parent_unless_it_is_from_scratch():
    assert BaseConfig(source="pretrain").parent == BaseConfig()
    scratch = OwnBaseConfig(init_from="scratch", autoencoder={})
    assert BaseConfig(source="pretrain", pretrain=scratch).parent is None
    assert BaseConfig().parent is None
