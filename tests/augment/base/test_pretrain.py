"""The whole pretraining in small, from phantoms to a folder that loads."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig
from augment.base.denoiser import DenoiserConfig
from augment.base.load import load_base
from augment.base.pretrain import PretrainConfig, main, pretrain
from augment.base.provenance import base_provenance, base_training_record
from augment.base.tiny_model import TinyModelConfig
from data.config import load
from data.errors import TrainingError
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig
from data.sources.load import DataConfig
from data.splits.provenance import Provenance

CONFIGS = Path(__file__).parents[3] / "configs"


def test_it_makes_a_base_that_loads_and_records_its_training(tmp_path: Path):
    config = PretrainConfig(
        out=str(tmp_path / "base"),
        work=str(tmp_path / "work"),
        data=DataConfig(phantom=PhantomConfig(images=16, codes=("nv", "mel"), balanced=True)),
        pixels=PixelConfig(size=16),
        model=TinyModelConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16),
        autoencoder=AutoencoderConfig(steps=2, batch_size=4),
        denoiser=DenoiserConfig(steps=2, batch_size=4),
    )
    out = pretrain(config)
    pipe = load_base(BaseConfig(source=str(out)))
    assert pipe("dermoscopy of a melanoma", num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)
    assert base_training_record(BaseConfig(source=str(out)))["by_class"] == {"mel": 8, "nv": 8}
    assert base_provenance(BaseConfig(source=str(out))) == Provenance()  # phantoms of no study
    plain = StableDiffusionPipeline.from_pretrained(out)  # stored in float16, loaded in float32
    assert {plain.unet.dtype, plain.vae.dtype, plain.text_encoder.dtype} == {torch.float32}
    assert (out / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size < 2.2 * sum(
        p.numel() for p in pipe.unet.parameters()
    )


def test_the_embedded_base_is_trained_on_no_rare_class():
    config = load(PretrainConfig, CONFIGS / "tiny-base.yaml")
    assert set(config.data.phantom.codes) == {"nv", "mel", "bkl", "bcc"}
    assert config.data.phantom.seed != PhantomConfig().seed


def test_a_training_that_fails_ends_the_command_in_one_line(tmp_path: Path, monkeypatch, capsys):
    def fails(config):
        raise TrainingError("the loss is nan at step 3; lower denoiser.learning_rate")

    monkeypatch.setattr("augment.base.pretrain.pretrain", fails)
    assert main([str(CONFIGS / "tiny-base.yaml")]) == 1
    assert capsys.readouterr().err == "failed: the loss is nan at step 3; lower denoiser.learning_rate\n"
    assert main([str(CONFIGS / "tiny-base.yaml"), "sed=1"]) == 2
    assert "did you mean 'seed'?" in capsys.readouterr().err
