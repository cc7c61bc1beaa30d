"""The denoiser's training on latents."""

import dataclasses
from pathlib import Path

import pytest
import torch

from augment.base.denoiser import DenoiserConfig, LatentDataset, PromptEncoder, train_denoiser, unique_prompts
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.diffusion.conditioning import encode_prompt
from augment.training.checkpoint import Checkpoint

SMALL = TinyModelConfig(image_size=16, vae_channels=(8, 16), unet_channels=(16, 32), text_width=16, text_layers=1)
PROMPTS = ["dermoscopy of a melanoma", "dermoscopy of a skin lesion"] * 4


@pytest.fixture
def latents() -> LatentDataset:
    mean = torch.randn((8, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    return LatentDataset(mean=mean, std=torch.full_like(mean, 0.1), prompts=PROMPTS)


def train(pipe, data: LatentDataset, config: DenoiserConfig, path: Path, progress=lambda *_: None) -> None:
    checkpoint = Checkpoint(path)
    train_denoiser(pipe=pipe, data=data, config=config, checkpoint=checkpoint, seed=0, progress=progress)


def test_the_loss_falls(latents: LatentDataset, tmp_path: Path):
    mean = torch.linspace(-2, 2, 8)[None, :, None, None].expand(8, 8, 8, 8)
    losses: list[float] = []
    config = DenoiserConfig(steps=40, batch_size=8, learning_rate=3e-3)
    data = dataclasses.replace(latents, mean=mean)
    note = lambda _done, _total, note: losses.append(float(note.removeprefix("loss ")))  # noqa: E731
    train(build_tiny_model(SMALL), data, config, tmp_path / "c", note)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_stopping_and_resuming_changes_nothing(latents: LatentDataset, tmp_path: Path):
    config = DenoiserConfig(steps=6, batch_size=4, checkpointing_steps=3)
    whole, parted = build_tiny_model(SMALL), build_tiny_model(SMALL, seed=5)
    train(whole, latents, config, tmp_path / "whole")

    def stop(step: int, steps: int, note: str) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(build_tiny_model(SMALL), latents, config, tmp_path / "parted", stop)
    train(parted, latents, config, tmp_path / "parted")
    for name in ("unet", "text_encoder"):
        pairs = zip(getattr(whole, name).parameters(), getattr(parted, name).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_prediction_depends_on_the_prompt(tmp_path: Path):
    mean = torch.cat([torch.ones(4, 8, 4, 4), -torch.ones(4, 8, 4, 4)])
    prompts = ["dermoscopy of a melanoma"] * 4 + ["dermoscopy of a benign keratosis"] * 4
    pipe = build_tiny_model(SMALL)
    config = DenoiserConfig(steps=100, batch_size=8, learning_rate=3e-3, ema_decay=0.9)
    data = LatentDataset(mean=mean, std=torch.full_like(mean, 0.1), prompts=prompts)
    train(pipe, data, config, tmp_path / "c")
    device = pipe.unet.device
    with torch.inference_mode():
        prompt_embeds, _ = pipe.encode_prompt([prompts[0], prompts[-1]], device, 1, do_classifier_free_guidance=False)
        noise, timesteps = torch.zeros(2, 8, 4, 4, device=device), torch.tensor([999, 999], device=device)
        velocity = pipe.unet(noise, timesteps, prompt_embeds).sample.mean((1, 2, 3))
    assert velocity[0] < -0.5  # from noise, the velocity is minus the clean latents
    assert velocity[1] > 0.5


def test_an_image_of_weight_zero_is_never_sampled(latents: LatentDataset, tmp_path: Path):
    mean = torch.cat([latents.mean, torch.full_like(latents.mean, torch.nan)])
    weights = torch.cat([torch.ones(8), torch.zeros(8)])
    data = LatentDataset(mean=mean, std=latents.std.repeat(2, 1, 1, 1), prompts=2 * PROMPTS, weights=weights)
    config = DenoiserConfig(steps=4, batch_size=8)
    pipe = build_tiny_model(SMALL)
    train(pipe, data, config, tmp_path / "c")
    assert torch.isfinite(pipe.unet.conv_in.weight).all()


def test_of_many_prompts_only_those_of_the_batch_are_encoded():
    prompt_ids = torch.tensor([7, 2, 7, 0])
    encoded, rows = unique_prompts(prompt_ids, 9)
    assert encoded.tolist() == [0, 2, 7]
    assert torch.equal(encoded[rows], prompt_ids)
    encoded, rows = unique_prompts(prompt_ids, 4)
    assert encoded.tolist() == [0, 1, 2, 3]
    assert torch.equal(rows, prompt_ids)


def test_prompts_longer_than_the_text_encoder_are_trained_on_whole():
    pipe = build_tiny_model(SMALL)
    encode = PromptEncoder(pipe, [PROMPTS[0], "skin " * 20], torch.device("cpu"))
    with torch.no_grad():
        embeds = encode(torch.tensor([0, 2, 1]))
    assert embeds.shape == (3, 32, pipe.text_encoder.config.hidden_size)
    torch.testing.assert_close(embeds[1:2], encode_prompt(pipe, "skin " * 20))
    torch.testing.assert_close(embeds[2:], encode_prompt(pipe, PROMPTS[0], n_chunks=2))
