"""The autoencoder's training and the folding of its statistics."""

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
    strewn,
    train_autoencoder,
    varied,
)
from augment.base.tiny_model import CompactConfig, build
from augment.checkpoint import Checkpoint
from data.errors import TrainingError

pytestmark = pytest.mark.numerical

SMALL = CompactConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16)


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 256, (24, 1, 1, 3)) + rng.integers(-20, 20, (24, 16, 16, 3))
    return flat.clip(0, 255).astype(np.uint8)


def ignore(step: int, steps: int, loss: float) -> None:
    pass


def test_training_teaches_it_to_draw(images: np.ndarray, tmp_path: Path):
    vae = build(SMALL).vae
    before = np.mean(psnr(vae, images))
    config = AutoencoderConfig(steps=100, batch_size=8, learning_rate=3e-3)
    train_autoencoder(vae, images, config, Checkpoint(tmp_path / "c.pt"), 0, ignore)
    assert np.mean(psnr(vae, images)) > before + 2


def test_stopping_and_resuming_changes_nothing(images: np.ndarray, tmp_path: Path):
    class StopError(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise StopError

    config = AutoencoderConfig(steps=8, batch_size=4, checkpoint_every=3)
    whole, parted = build(SMALL).vae, build(SMALL).vae
    train_autoencoder(whole, images, config, Checkpoint(tmp_path / "whole.pt"), 0, ignore)
    with pytest.raises(StopError):
        train_autoencoder(parted, images, config, Checkpoint(tmp_path / "parted.pt"), 0, stop)
    parted = build(SMALL, seed=9).vae
    train_autoencoder(parted, images, config, Checkpoint(tmp_path / "parted.pt"), 0, ignore)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parted.parameters(), strict=True))


def test_a_loss_that_is_no_number_stops_the_training(images: np.ndarray, tmp_path: Path):
    vae = build(SMALL).vae
    with torch.no_grad():
        vae.decoder.conv_in.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="loss is nan at step 1"):
        train_autoencoder(vae, images, AutoencoderConfig(steps=2, batch_size=2), Checkpoint(tmp_path / "c"), 0, ignore)


def test_centred_latents_are_of_unit_size_and_the_images_stay(images: np.ndarray):
    vae = build(SMALL).vae.eval()
    pixels = as_tensor(images)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        centre_latents(vae, images)
        after = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    mean, _ = moments(vae, images)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(mean.mean((0, 2, 3)), torch.zeros(8), atol=0.03, rtol=0)
    torch.testing.assert_close(mean.std((0, 2, 3)), torch.ones(8), atol=0.03, rtol=0)


def test_recolouring_leaves_grey_grey_and_turns_colours():
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((4, 3, 2, 2), 0.25)
    torch.testing.assert_close(varied(grey, 1.0, generator), grey)
    brown = torch.tensor([0.2, -0.2, -0.5])[None, :, None, None].expand(64, 3, 2, 2)
    bluest = varied(brown, 1.0, generator)[:, 2, 0, 0].max()
    assert bluest > 0.2


def test_discs_are_laid_over_a_share_of_the_images():
    grey = torch.zeros((64, 3, 32, 32))
    covered = strewn(grey, 0.5, torch.Generator().manual_seed(0))
    touched = covered.abs().amax((1, 2, 3)) > 0.1
    assert 10 < int(touched.sum()) < 40
    assert covered.abs().max() <= 1
    assert torch.equal(strewn(grey, 0.0, torch.Generator().manual_seed(0)), grey)
