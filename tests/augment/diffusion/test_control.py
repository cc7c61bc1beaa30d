import copy

import pytest
import torch

from augment.device import copied
from augment.diffusion.conditioning import Conditioning, encode_prompt, guided, unet_denoise
from augment.diffusion.control import embedding_channels, install_control
from augment.methods.weights import with_parts

pytestmark = pytest.mark.numerical

CONDITION = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def inputs(pipe):
    latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    return latents, torch.tensor([10, 900]), encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)


@pytest.fixture
def controlled(pipe):
    """A pipeline with a ControlNet that changes much."""
    made = with_parts(pipe, unet=copied(pipe.unet, pipe.device, torch.float32))
    install_control(made)
    generator = torch.Generator().manual_seed(1)
    for weight in made.unet.control.parameters():
        weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return made


@pytest.mark.parametrize(("factor", "channels"), [(2, (16, 32)), (4, (16, 32, 96)), (8, (16, 32, 96, 256))])
def test_the_condition_is_made_as_small_as_the_latents(factor, channels):
    assert embedding_channels(factor) == channels


@torch.no_grad()
def test_a_control_of_zeros_changes_nothing(pipe, inputs):
    latents, timesteps, embeds = inputs
    made = with_parts(pipe, unet=copied(pipe.unet, pipe.device, torch.float32))
    install_control(made)
    conditioning = Conditioning(embeds, CONDITION)
    expected = unet_denoise(pipe.unet)(latents, timesteps, Conditioning(embeds))
    assert torch.equal(unet_denoise(made.unet)(latents, timesteps, conditioning), expected)
    assert not hasattr(pipe.unet, "control")


@torch.no_grad()
def test_a_condition_image_counts_and_without_one_the_base_speaks_alone(pipe, controlled, inputs):
    latents, timesteps, embeds = inputs
    denoise = unet_denoise(controlled.unet)
    ones, others = (denoise(latents, timesteps, Conditioning(embeds, each)) for each in (CONDITION, 1 - CONDITION))
    base = unet_denoise(pipe.unet)(latents, timesteps, Conditioning(embeds))
    assert torch.equal(denoise(latents, timesteps, Conditioning(embeds)), base)
    assert (ones - base).abs().mean() > 1e-3 < (ones - others).abs().mean()
    copied_unet = copy.deepcopy(controlled.unet)
    assert torch.equal(unet_denoise(copied_unet)(latents, timesteps, Conditioning(embeds, CONDITION)), ones)


@torch.no_grad()
@pytest.mark.parametrize("one_call", [True, False])
def test_both_halves_of_guidance_follow_the_condition(pipe, controlled, inputs, one_call):
    latents, _, embeds = inputs
    timestep, negative = torch.tensor(500), encode_prompt(pipe, "").expand(2, -1, -1)
    denoise = unet_denoise(controlled.unet)
    text, uncond = (denoise(latents, timestep, Conditioning(each, CONDITION)) for each in (embeds, negative))
    both = guided(denoise, Conditioning(negative, CONDITION), 3.0, one_call=one_call)
    found = both(latents, timestep, Conditioning(embeds, CONDITION))
    torch.testing.assert_close(found, uncond + 3 * (text - uncond), atol=1e-4, rtol=1e-3)


def test_a_condition_without_a_control_is_a_mistake(pipe, inputs):
    latents, timesteps, embeds = inputs
    with pytest.raises(ValueError, match="the UNet has no ControlNet"):
        unet_denoise(pipe.unet)(latents, timesteps, Conditioning(embeds, CONDITION))
