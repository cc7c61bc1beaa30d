"""The whole pretraining in small, from drawn images to a folder that loads; and a study's own base."""

import dataclasses
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig, base_identity, load_base, seen_by
from augment.base.denoiser import DenoiserConfig
from augment.base.pretrain import PretrainConfig, main, pretrain, pretrain_own
from augment.base.tiny_model import CompactConfig
from augment.base.train import OwnBaseConfig
from augment.prompts import PromptConfig
from data.config import load
from data.errors import BaseError, ConfigError, TrainingError
from data.manifest import Manifest
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig
from data.sources.load import DataConfig

CONFIGS = Path(__file__).parents[3] / "configs"


def test_it_makes_a_base_that_loads_and_says_what_it_has_seen(tmp_path: Path):
    config = PretrainConfig(
        out=str(tmp_path / "base"),
        work=str(tmp_path / "work"),
        data=DataConfig(phantom=PhantomConfig(images=16, codes=("nv", "mel"), balanced=True)),
        pixels=PixelConfig(size=16),
        sizes=CompactConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16),
        autoencoder=AutoencoderConfig(steps=2, batch_size=4),
        denoiser=DenoiserConfig(steps=2, batch_size=4),
    )
    out = pretrain(config)
    pipe = load_base(BaseConfig(source=str(out)))
    assert pipe("dermoscopy of a melanoma", num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)
    assert seen_by(BaseConfig(source=str(out)))["by_class"] == {"mel": 8, "nv": 8}
    plain = StableDiffusionPipeline.from_pretrained(out)  # whatever it is stored in, it is loaded in one precision
    assert {plain.unet.dtype, plain.vae.dtype, plain.text_encoder.dtype} == {torch.float32}
    assert (out / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size < 2.2 * sum(
        p.numel() for p in pipe.unet.parameters()
    )


def test_the_embedded_base_is_trained_on_no_rare_class():
    config = load(PretrainConfig, CONFIGS / "tiny-base.yaml")
    assert set(config.data.phantom.codes) == {"nv", "mel", "bkl", "bcc"}
    assert config.data.phantom.seed != PhantomConfig().seed


@pytest.fixture
def part(shots: dict[str, Manifest]) -> Manifest:
    return Manifest.concat(*shots.values())


def own_base(start: str, **changes: object) -> BaseConfig:
    own = OwnBaseConfig(
        start=start,
        autoencoder=AutoencoderConfig(steps=2, batch_size=2, checkpoint_every=1),
        denoiser=DenoiserConfig(steps=3, batch_size=2, checkpoint_every=1),
    )
    return BaseConfig(source="pretrain", pretrain=dataclasses.replace(own, **changes))


def train(base: BaseConfig, part: Manifest, out: Path, size: int = 32, progress=None) -> BaseConfig:
    pretrain_own(base, part, PixelConfig(size=size), PromptConfig(), out, 0, None, progress)
    return BaseConfig(source=str(out))


def weights(base: BaseConfig, name: str) -> dict[str, torch.Tensor]:
    (file,) = (Path(base.source) / name).glob("*.safetensors")
    return load_file(file)


def test_a_base_is_continued_from_another_and_says_what_both_have_seen(
    base: BaseConfig, part: Manifest, tmp_path: Path
):
    first = train(own_base(base.source), part.of("df"), tmp_path / "first")
    second = train(own_base(str(tmp_path / "first")), part.of("vasc"), tmp_path / "second")
    seen = seen_by(second)
    assert seen["by_class"] == {"vasc": 5}
    assert seen["groups"] == sorted(part.table["group_id"])
    assert seen["image_ids"] == sorted(part.table["image_id"])
    assert seen["before"] == {"images": 5, "by_class": {"df": 5}, "part": "train", "before": seen_by(first)["before"]}
    assert seen["before"]["before"] == {"images": "unknown", "groups": "unknown"}
    assert seen["start"] == base_identity(first)
    assert "sizes" not in seen["config"]  # they are those of the first
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
    with pytest.raises(ConfigError, match=r"pixels\.size is 40, but this base draws multiples of 16"):
        train(own_base(base.source), part, tmp_path / "other", size=40)


def test_a_base_from_scratch_has_the_sizes_of_the_config(part: Manifest, tmp_path: Path):
    sizes = CompactConfig(image_size=32, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16, text_layers=1)
    made = load_base(train(own_base("scratch", sizes=sizes), part, tmp_path / "own"))
    assert made.unet.config.block_out_channels == [16, 32]
    assert "before" not in seen_by(BaseConfig(source=str(tmp_path / "own")))


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
    base = own_base("scratch", sizes=dataclasses.replace(CompactConfig(image_size=32), **odd))
    with pytest.raises(
        ConfigError, match=r"^base\.pretrain\.sizes: no model can be built of these \(.*\); change them"
    ):
        train(base, part, tmp_path / "odd")


def test_a_stopped_training_of_a_base_ends_in_the_same_weights(base: BaseConfig, part: Manifest, tmp_path: Path):
    whole = train(own_base(base.source), part, tmp_path / "whole")
    for stage, step in (("autoencoder", 2), ("denoiser", 2)):

        def stop(now: str, done: int, total: int, loss: float, at=(stage, step)) -> None:
            if (now, done) == at:
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
    with pytest.raises(BaseError, match=r"large is no compact base; take it as base\.source instead"):
        train(own_base(str(tmp_path / "large")), part, tmp_path / "out")
    with pytest.raises(BaseError, match="is trained by a study's run"):
        load_base(BaseConfig(source="pretrain"))


def test_a_training_that_fails_ends_the_command_in_one_line(tmp_path: Path, monkeypatch, capsys):
    def fails(config):
        raise TrainingError("the loss is nan at step 3; lower denoiser.learning_rate")

    monkeypatch.setattr("augment.base.pretrain.pretrain", fails)
    assert main([str(CONFIGS / "tiny-base.yaml")]) == 1
    assert capsys.readouterr().err == "failed: the loss is nan at step 3; lower denoiser.learning_rate\n"
    assert main([str(CONFIGS / "tiny-base.yaml"), "sed=1"]) == 2
    assert "did you mean 'seed'?" in capsys.readouterr().err
