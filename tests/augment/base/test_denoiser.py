"""The denoiser's training on latents."""

from pathlib import Path

import pytest
import torch

from augment.base.denoiser import DenoiserConfig, _heard, _tokens, train_denoiser
from augment.base.tiny_model import CompactConfig, build
from augment.checkpoint import Checkpoint

SMALL = CompactConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16, text_layers=1)
PROMPTS = ["dermoscopy of a melanoma", "dermoscopy of a skin lesion"] * 4


@pytest.fixture
def latents() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((8, 8, 8, 8), generator=generator), torch.full((8, 8, 8, 8), 0.1)


def ignore(step: int, steps: int, loss: float) -> None:
    pass


def test_the_loss_falls(latents: tuple[torch.Tensor, torch.Tensor], tmp_path: Path):
    mean = torch.linspace(-2, 2, 8)[None, :, None, None].expand(8, 8, 8, 8)
    losses: list[float] = []
    config = DenoiserConfig(steps=40, batch_size=8, learning_rate=3e-3)
    train_denoiser(
        build(SMALL), mean, latents[1], PROMPTS, config, Checkpoint(tmp_path / "c"), 0, lambda *s: losses.append(s[2])
    )
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_stopping_and_resuming_changes_nothing(latents: tuple[torch.Tensor, torch.Tensor], tmp_path: Path):
    config = DenoiserConfig(steps=6, batch_size=4, checkpoint_every=3)
    whole, parted = build(SMALL), build(SMALL, seed=5)
    train_denoiser(whole, *latents, PROMPTS, config, Checkpoint(tmp_path / "whole"), 0, ignore)

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_denoiser(build(SMALL), *latents, PROMPTS, config, Checkpoint(tmp_path / "parted"), 0, stop)
    train_denoiser(parted, *latents, PROMPTS, config, Checkpoint(tmp_path / "parted"), 0, ignore)
    for name in ("unet", "text_encoder"):
        pairs = zip(getattr(whole, name).parameters(), getattr(parted, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_prompt_is_heard(tmp_path: Path):
    mean = torch.cat([torch.ones(4, 8, 4, 4), -torch.ones(4, 8, 4, 4)])
    prompts = ["dermoscopy of a melanoma"] * 4 + ["dermoscopy of a benign keratosis"] * 4
    pipe = build(SMALL)
    config = DenoiserConfig(steps=100, batch_size=8, learning_rate=3e-3, ema=0.9)
    train_denoiser(pipe, mean, torch.full_like(mean, 0.1), prompts, config, Checkpoint(tmp_path / "c"), 0, ignore)
    with torch.inference_mode():
        embedded, _ = pipe.encode_prompt([prompts[0], prompts[-1]], "cpu", 1, do_classifier_free_guidance=False)
        velocity = pipe.unet(torch.zeros(2, 8, 4, 4), torch.tensor([999, 999]), embedded).sample.mean((1, 2, 3))
    assert velocity[0] < -0.5  # from noise, the velocity is minus the clean latents
    assert velocity[1] > 0.5


def test_what_weighs_nothing_is_never_drawn(latents: tuple[torch.Tensor, torch.Tensor], tmp_path: Path):
    mean, std = latents
    poisoned = torch.cat([mean, torch.full_like(mean, torch.nan)])
    weights = torch.cat([torch.ones(8), torch.zeros(8)])
    config = DenoiserConfig(steps=4, batch_size=8)
    pipe, checkpoint = build(SMALL), Checkpoint(tmp_path / "c")
    train_denoiser(pipe, poisoned, torch.cat([std, std]), 2 * PROMPTS, config, checkpoint, 0, ignore, weights)
    assert torch.isfinite(pipe.unet.conv_in.weight).all()


def test_of_many_prompts_those_of_the_batch_are_encoded_and_nothing_else_changes():
    numbers = torch.tensor([7, 2, 7, 0])
    heard, told = _heard(numbers, 9)
    assert heard.tolist() == [0, 2, 7]
    assert torch.equal(heard[told], numbers)
    few, same = _heard(numbers, 4)
    assert few.tolist() == [0, 1, 2, 3]
    assert torch.equal(same, numbers)


def test_a_prompt_that_the_base_cannot_read_to_its_end_is_told_of(caplog: pytest.LogCaptureFixture):
    _tokens(build(SMALL), ["", PROMPTS[0], "skin " * 20])
    assert "the base reads 16 tokens of a prompt, which cuts the end off 'skin skin" in caplog.text
