"""The whole pretraining in small, from drawn images to a folder that loads."""

from pathlib import Path

from augment.autoencoder import AutoencoderConfig
from augment.base import BaseConfig, load_base, seen_by
from augment.compact import CompactConfig
from augment.denoiser import DenoiserConfig
from augment.pretrain import PretrainConfig, pretrain
from data.config import load
from data.phantom import PhantomConfig
from data.pixels import PixelConfig
from data.sources import DataConfig

CONFIGS = Path(__file__).parents[2] / "configs"


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
    assert (out / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size < 2.2 * sum(
        p.numel() for p in pipe.unet.parameters()
    )


def test_the_embedded_base_is_trained_on_no_rare_class():
    config = load(PretrainConfig, CONFIGS / "tiny-base.yaml")
    assert set(config.data.phantom.codes) == {"nv", "mel", "bkl", "bcc"}
    assert config.data.phantom.seed != PhantomConfig().seed
