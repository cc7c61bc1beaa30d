"""A study's own base: continued from another or from scratch, resumed after a stop, bound to what it has seen."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig, OwnBaseConfig
from augment.base.denoiser import DenoiserConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.base.own_base import (
    own_base_bytes,
    own_base_checkpoint_bytes,
    own_base_part,
    own_base_settings,
    pretrain_own,
)
from augment.base.param_count import base_parts
from augment.base.provenance import BaseRecord, base_provenance, base_training_record
from augment.base.tiny_model import TinyModelConfig
from augment.context import Context
from augment.prompts import PromptConfig
from data.errors import BaseError, ConfigError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.splits.provenance import Provenance


@pytest.fixture
def part(shots: dict[str, Manifest]) -> Manifest:
    return Manifest.concat(*shots.values())


def own_base(init_from: str, **changes: object) -> BaseConfig:
    own = OwnBaseConfig(
        init_from=init_from,
        autoencoder=AutoencoderConfig(steps=2, batch_size=2, checkpointing_steps=1),
        denoiser=DenoiserConfig(steps=3, batch_size=2, checkpointing_steps=1),
    )
    return BaseConfig(source="pretrain", pretrain=dataclasses.replace(own, **changes))


def train(base: BaseConfig, part: Manifest, out: Path, size: int = 32, progress=None) -> BaseConfig:
    context = Context(pixels=PixelConfig(size=size), prompts=PromptConfig(), seed=0)
    pretrain_own(base=base, part=part, context=context, out=out, progress=progress)
    return BaseConfig(source=str(out))


def weights(base: BaseConfig, name: str) -> dict[str, torch.Tensor]:
    (file,) = (Path(base.source) / name).glob("*.safetensors")
    return load_file(file)


def test_a_base_is_continued_from_another_and_has_the_provenance_of_both(
    base: BaseConfig, part: Manifest, tmp_path: Path
):
    first = train(own_base(base.source), part.of("df"), tmp_path / "first")
    second = train(own_base(str(tmp_path / "first")), part.of("vasc"), tmp_path / "second")
    assert base_training_record(second) == {
        "images": 5,
        "by_class": {"vasc": 5},
        "groups": 10,
        "part": "train",
        "before": {"images": 5, "by_class": {"df": 5}, "groups": 5, "part": "train", "before": {}},  # {}: unknown
    }
    assert base_provenance(second) == dataclasses.replace(Provenance.of(part), is_complete=False)
    details = BaseRecord.read(tmp_path / "second").details
    assert details["init_from"] == base_identity(first)
    assert "model" not in details["config"]  # it is that of the first
    assert not (tmp_path / "second" / "checkpoint").exists()
    for file in ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json"):
        assert str(tmp_path) not in (tmp_path / "second" / file).read_text(encoding="utf-8")


def test_an_autoencoder_that_is_kept_is_the_same_to_the_bit(base: BaseConfig, part: Manifest, tmp_path: Path):
    kept = train(own_base(base.source, autoencoder=None), part, tmp_path / "kept")
    begun = load_base(base)
    assert all(torch.equal(begun.vae.state_dict()[key].half(), value) for key, value in weights(kept, "vae").items())
    assert any(not torch.equal(begun.unet.state_dict()[key].half(), v) for key, v in weights(kept, "unet").items())
    trained = weights(train(own_base(base.source), part, tmp_path / "trained"), "vae")
    assert any(not torch.equal(begun.vae.state_dict()[key].half(), value) for key, value in trained.items())


def test_a_base_is_continued_at_other_multiples_of_its_pixels(base: BaseConfig, part: Manifest, tmp_path: Path):
    made = load_base(train(own_base(base.source), part, tmp_path, size=48))
    assert made("dermoscopy of a melanoma", num_inference_steps=1, output_type="np").images.shape == (1, 48, 48, 3)
    with pytest.raises(ConfigError, match=r"pixels\.size is 40, but this base makes multiples of 16"):
        train(own_base(base.source), part, tmp_path / "other", size=40)


def test_a_base_from_scratch_is_the_model_of_the_config(part: Manifest, tmp_path: Path):
    model = TinyModelConfig(image_size=32, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16, text_layers=1)
    made = load_base(train(own_base("scratch", model=model), part, tmp_path / "own"))
    assert made.unet.config.block_out_channels == [16, 32]
    assert "before" not in base_training_record(BaseConfig(source=str(tmp_path / "own")))


@pytest.mark.parametrize(
    "odd",
    [
        {"unet_channels": (10, 20)},
        {"unet_channels": ()},
        {"vae_channels": ()},
        {"text_width": 130},
        {"text_width": 0},
        {"attention_heads": 0},
    ],
    ids=str,
)
def test_sizes_of_which_no_model_can_be_built_are_one_line(odd: dict[str, object], part: Manifest, tmp_path: Path):
    base = own_base("scratch", model=dataclasses.replace(TinyModelConfig(image_size=32), **odd))
    with pytest.raises(
        ConfigError, match=r"^base\.pretrain\.model: no model can be built of these sizes \(.*\); change them"
    ):
        train(base, part, tmp_path / "odd")


def test_a_stopped_training_of_a_base_ends_in_the_same_weights(base: BaseConfig, part: Manifest, tmp_path: Path):
    whole = train(own_base(base.source), part, tmp_path / "whole")
    for step in (2, 4):  # the last of the autoencoder's, the second of the denoiser's

        def stop(done: int, total: int, note: str, step=step) -> None:
            assert total == 5
            if done == step and "loss" in note:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(own_base(base.source), part, tmp_path / "parts", progress=stop)
        assert not (tmp_path / "parts" / "training.json").exists()
    parts = train(own_base(base.source), part, tmp_path / "parts")
    for name in ("vae", "unet", "text_encoder"):
        assert all(torch.equal(weights(whole, name)[key], value) for key, value in weights(parts, name).items())


def test_what_cannot_be_continued_is_refused(base: BaseConfig, part: Manifest, tmp_path: Path):
    large = load_base(base)
    large.vae.register_to_config(scaling_factor=0.18215)
    large.save_pretrained(tmp_path / "large")
    with pytest.raises(BaseError, match=r"large is no tiny model; use it as base\.source instead"):
        train(own_base(str(tmp_path / "large")), part, tmp_path / "out")
    with pytest.raises(BaseError, match="is trained by a study's run"):
        load_base(BaseConfig(source="pretrain"))


def test_the_base_is_trained_without_the_rare_classes_unless_the_config_names_them(part: Manifest):
    assert own_base_part(OwnBaseConfig(), part, ("df",)).counts() == {"vasc": 5}
    assert own_base_part(OwnBaseConfig(classes=("df",)), part, ("df",)).counts() == {"df": 5}
    with pytest.raises(ConfigError, match=r"split\.rare holds every class.* name some in base\.pretrain\.classes"):
        own_base_part(OwnBaseConfig(), part, ("df", "vasc"))
    with pytest.raises(ConfigError, match=r"base\.pretrain\.classes names 'bkl', .* labels: df, vasc"):
        own_base_part(OwnBaseConfig(classes=("bkl",)), part, ())


def test_settings_that_change_the_speed_alone_are_no_result_settings():
    own = OwnBaseConfig(autoencoder=AutoencoderConfig())
    idle = dataclasses.replace(
        own,
        classes=("nv",),
        autoencoder=AutoencoderConfig(compile=True, checkpointing_steps=7),
        denoiser=dataclasses.replace(own.denoiser, checkpointing_steps=7),
    )
    assert own_base_settings(idle) == own_base_settings(own)
    other = dataclasses.replace(own, denoiser=dataclasses.replace(own.denoiser, steps=7))
    assert own_base_settings(other) != own_base_settings(own)
    assert own_base_settings(OwnBaseConfig())["autoencoder"] is None
    assert "model" in own_base_settings(OwnBaseConfig(init_from="scratch", autoencoder={}))


def test_a_base_and_its_checkpoints_take_no_more_of_the_disk_than_estimated(
    base: BaseConfig, part: Manifest, tmp_path: Path
):
    on_the_way = 0

    def measure(_done: int, _total: int, _note: str) -> None:
        nonlocal on_the_way
        on_the_way = max(on_the_way, bytes_in(tmp_path / "own"))

    config = own_base(base.source)
    parts = base_parts(config, 32)
    train(config, part, tmp_path / "own", progress=measure)
    assert config.own is not None
    assert 0 < on_the_way <= own_base_checkpoint_bytes(config.own, parts, len(part), 32)
    assert bytes_in(tmp_path / "own") <= own_base_bytes(parts)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
