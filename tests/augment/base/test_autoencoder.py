"""The autoencoder's training, and its latents' statistics folded into its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from augment.base.autoencoder import (
    AutoencoderConfig,
    as_tensor,
    centre_latents,
    moments,
    psnr,
    train_autoencoder,
)
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.training.checkpoint import Checkpoint
from data.errors import TrainingError

pytestmark = pytest.mark.numerical

SMALL = TinyModelConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16)


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 256, (24, 1, 1, 3)) + rng.integers(-20, 20, (24, 16, 16, 3))
    return flat.clip(0, 255).astype(np.uint8)


def train(vae, images, config: AutoencoderConfig, path: Path, progress=lambda *_: None) -> None:
    checkpoint = Checkpoint(path)
    train_autoencoder(vae=vae, images=images, config=config, checkpoint=checkpoint, seed=0, progress=progress)


def test_training_raises_the_psnr(images: np.ndarray, tmp_path: Path):
    vae = build_tiny_model(SMALL).vae
    before = np.mean(psnr(vae, images))
    config = AutoencoderConfig(steps=100, batch_size=8, learning_rate=3e-3)
    train(vae, images, config, tmp_path / "c.pt")
    assert np.mean(psnr(vae, images)) > before + 2


def test_stopping_and_resuming_changes_nothing(images: np.ndarray, tmp_path: Path):
    class StopError(Exception):
        pass

    def stop(step: int, steps: int, note: str) -> None:
        if step == 5:
            raise StopError

    config = AutoencoderConfig(steps=8, batch_size=4, checkpointing_steps=3)
    whole, parted = build_tiny_model(SMALL).vae, build_tiny_model(SMALL).vae
    train(whole, images, config, tmp_path / "whole.pt")
    with pytest.raises(StopError):
        train(parted, images, config, tmp_path / "parted.pt", stop)
    parted = build_tiny_model(SMALL, seed=9).vae
    train(parted, images, config, tmp_path / "parted.pt")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parted.parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_the_training(images: np.ndarray, tmp_path: Path):
    vae = build_tiny_model(SMALL).vae
    with torch.no_grad():
        vae.decoder.conv_in.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1"):
        train(vae, images, AutoencoderConfig(steps=2, batch_size=2), tmp_path / "c")


def test_centred_latents_are_of_unit_size_and_the_images_stay(images: np.ndarray):
    vae = build_tiny_model(SMALL).vae.eval()
    pixels = as_tensor(images)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        centre_latents(vae, images)
        after = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    mean, _ = moments(vae, images)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(mean.mean((0, 2, 3)), torch.zeros(8), atol=0.03, rtol=0)
    torch.testing.assert_close(mean.std((0, 2, 3)), torch.ones(8), atol=0.03, rtol=0)
