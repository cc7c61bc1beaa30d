import copy

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from augment import device
from augment.diffusion import sample as sampler
from augment.diffusion.sample import (
    SamplerConfig,
    decode,
    encode,
    encode_all,
    require_size,
    sample_batches,
    sample_latents,
    starting_noise,
)
from augment.diffusion.samplers import solver, solver_for
from augment.methods.weights import with_parts
from data.errors import BaseError, ConfigError

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


def images(pipe, seeds, negative="", **options):
    latents = sample_latents(pipe, encode(pipe, PROMPT), encode(pipe, negative), seeds, SamplerConfig(**options))
    return decode(pipe, latents)


@pytest.fixture(params=["v_prediction", "epsilon"])
def kind(request, pipe):
    scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, prediction_type=request.param)
    return with_parts(pipe, scheduler=scheduler)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_images_are_those_of_diffusers_own_pipeline(kind, guidance):
    seeds = [5, 6, 7]
    reference = with_parts(kind, scheduler=solver(kind))(
        PROMPT,
        negative_prompt="hair",
        num_inference_steps=5,
        guidance_scale=guidance,
        num_images_per_prompt=3,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images
    ours = images(kind, seeds, "hair", steps=5, guidance=guidance, batch_size=3)
    assert np.abs(ours - np.round(reference * 255)).max() <= 1


@pytest.mark.parametrize("levels", ["fast", "lcm", "tcd", "hyper-sd"])
def test_every_schedule_is_diffusers_own_solver_with_each_images_own_noise(pipe, levels):
    seeds = [5, 6, 7]
    reference = with_parts(pipe, scheduler=solver_for(pipe, levels, 4))(
        PROMPT,
        num_inference_steps=4,
        guidance_scale=1.0,
        num_images_per_prompt=3,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        eta=0.3 if levels == "tcd" else 0.0,  # of TCD's own noise; DDIM would add some too
        output_type="np",
    ).images
    told, untold = encode(pipe, PROMPT), encode(pipe, "")
    options = SamplerConfig(steps=4, guidance=1.0, batch_size=2)
    drawn = [decode(pipe, batch) for batch in sample_batches(pipe, told, untold, seeds, options, levels=levels)]
    assert np.abs(np.concatenate(drawn) - np.round(reference * 255)).max() <= 1


def test_image_17_is_the_same_in_any_batch(pipe):
    seeds = list(range(20))
    whole = images(pipe, seeds, steps=3, batch_size=20)
    for batch_size in (1, 7):
        few = images(pipe, seeds[15:19], steps=3, batch_size=batch_size)
        assert np.abs(few[2].astype(int) - whole[17]).max() <= 1


def test_an_image_does_not_depend_on_its_neighbours(pipe):
    def latents(seeds):
        config = SamplerConfig(steps=3, batch_size=4)
        return sample_latents(pipe, encode(pipe, PROMPT), encode(pipe, ""), seeds, config)

    whole = latents(list(range(7)))
    assert torch.equal(latents([0])[0], whole[0])  # to the bit at one place of a batch, which is always filled up
    assert torch.equal(latents([9, 8, 2, 7])[2], whole[2])
    # At another place, or decoded with more or fewer, rounding is another.
    torch.testing.assert_close(latents([6, 5, 0]), whole[[6, 5, 0]], atol=1e-4, rtol=1e-3)
    pixels, few = (decode(pipe, each).astype(int) for each in (whole, whole[5:6]))
    assert np.abs(few[0] - pixels[5]).max() <= 1


def test_guidance_stops_after_its_share_of_the_steps(pipe):
    calls = []
    counted = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    counted.unet.register_forward_hook(lambda _module, given, _result: calls.append(given[0].shape))
    for until, guided in ((1.0, 10), (0.5, 5), (0.0, 0)):
        calls.clear()
        images(counted, [1, 2, 3], steps=10, guidance_until=until, batch_size=2)
        batches = [(4, 8, 4, 4)] * guided + [(2, 8, 4, 4)] * (10 - guided)  # few images: both halves in one call
        assert calls == batches * 2
    calls.clear()
    images(counted, [1], steps=10, guidance=1.0, batch_size=1)
    assert len(calls) == 10


@pytest.mark.parametrize("compiled", [False, True])
def test_one_call_with_and_without_the_prompt_says_what_two_say(pipe, monkeypatch, compiled):
    seeds, options = [1, 2, 3], {"steps": 4, "guidance": 3.0, "batch_size": 3}
    together = images(pipe, seeds, **options)
    other = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    calls = []
    other.unet.register_forward_hook(lambda _module, given, _result: calls.append(len(given[0])))
    if compiled:
        other.unet._compiled_call_impl = other.unet._call_impl
    else:
        monkeypatch.setattr("augment.diffusion.sample._in_one_call", lambda *_: False)
    apart = images(other, seeds, **options)
    assert calls == [3] * 8
    assert np.abs(apart.astype(int) - together).max() <= 1


@pytest.mark.parametrize(
    ("where", "n", "compiled", "once"),
    [("cpu", 64, False, True), ("cuda", 8, False, True), ("cuda", 9, False, False), ("cpu", 2, True, False)],
)
def test_one_call_is_made_where_it_is_faster_and_no_new_shape(where, n, compiled, once):
    unet = torch.nn.Linear(1, 1)
    if compiled:
        unet._compiled_call_impl = unet._call_impl
    assert sampler._in_one_call(unet, n, torch.device(where)) == once


def test_no_guidance_at_all_is_the_conditional_model_alone(pipe):
    plain = images(pipe, [1, 2], steps=4, guidance=1.0, batch_size=2)
    assert np.array_equal(images(pipe, [1, 2], steps=4, guidance=9.0, guidance_until=0.0, batch_size=2), plain)
    assert not np.array_equal(images(pipe, [1, 2], steps=4, guidance=9.0, batch_size=2), plain)


def test_a_seed_means_the_same_noise_as_in_diffusers(pipe):
    expected = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(11))
    assert torch.equal(starting_noise(pipe, [10, 11])[1:], expected)
    assert starting_noise(pipe, [10], size=64).shape == (1, 8, 8, 8)


def test_latents_that_are_not_finite_are_no_image(pipe):
    spoilt = torch.full((1, 8, 4, 4), torch.nan)
    with pytest.raises(BaseError, match=r"^latents that are not finite, in float32 .* lower finetune\.learning_rate"):
        decode(pipe, spoilt)
    half = with_parts(pipe, unet=copy.deepcopy(pipe.unet).to(torch.float16))
    with pytest.raises(ConfigError, match=r"^latents that are not finite.*float16; set generate\.precision: float32$"):
        decode(half, spoilt)


@pytest.fixture
def overflowing(pipe, monkeypatch):
    """A base in 16 bits whose decoder makes no number of the second image; gives how many it decoded in which."""
    made = device.place(copy.deepcopy(pipe), torch.device("cpu"), torch.float16)
    real, calls = made.vae.decode, []

    def decode(latents, return_dict):
        calls.append((len(latents), latents.dtype))
        image = real(latents, return_dict=return_dict)[0].clone()
        if latents.dtype == torch.float16:
            image[1:2, 0, 0, 0] = torch.inf
        return (image,)

    monkeypatch.setattr(made.vae, "decode", decode)
    return made, calls


def test_an_image_that_is_not_finite_in_sixteen_bits_is_decoded_in_thirty_two(pipe, overflowing, caplog):
    half, calls = overflowing
    latents = 3 * torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    found, expected = decode(half, latents), decode(pipe, latents)
    assert np.abs(found.astype(int) - expected).max() <= 2
    rounded = device.cast(device.cast(copy.deepcopy(pipe.vae), torch.float16), torch.float32)
    widened = with_parts(pipe, vae=rounded)
    # Both decode one image in 32 bits, but the first in the layout that it was placed in.
    assert np.abs(found[1].astype(int) - decode(widened, latents[1:2])[0]).max() <= 1
    assert calls == [(3, torch.float16), (1, torch.float32)]
    assert half.vae.dtype == torch.float16
    assert "1 images are not finite, decoded in torch.float16; decoding them in float32" in caplog.text


def test_pixels_that_are_not_finite_in_float32_are_no_image(pipe, overflowing, monkeypatch):
    half, _ = overflowing

    def spoilt(latents, return_dict):
        return (torch.full((len(latents), 3, 32, 32), torch.nan),)

    monkeypatch.setattr(half.vae, "decode", spoilt)
    with pytest.raises(ConfigError, match=r"^pixels that are not finite.* set generate\.precision: float32$"):
        decode(half, torch.zeros(2, 8, 4, 4))
    assert half.vae.dtype == torch.float16
    monkeypatch.setattr(pipe.vae, "decode", spoilt)
    with pytest.raises(BaseError, match=r"^pixels that are not finite, in float32 .*fine-tune again"):
        decode(pipe, torch.zeros(2, 8, 4, 4))


def test_a_size_that_the_base_cannot_draw_is_refused(pipe):
    require_size(pipe, 48)
    with pytest.raises(ConfigError, match=r"pixels\.size is 40, but this base draws multiples of 16"):
        require_size(pipe, 40)


def test_sixteen_bits_draw_nearly_the_same(pipe):
    half = device.place(copy.deepcopy(pipe), torch.device("cpu"), torch.float16)
    options = {"steps": 3, "batch_size": 2}
    assert half.unet.dtype == torch.float16
    assert np.abs(images(half, [1, 2], **options).astype(int) - images(pipe, [1, 2], **options)).max() <= 6


def test_each_image_may_have_a_prompt_of_its_own(pipe):
    prompts, seeds, config = [PROMPT, "drawing", "hair"], [1, 2, 3], SamplerConfig(steps=2, batch_size=2)
    negative = encode(pipe, "")
    alone = [sample_latents(pipe, encode(pipe, prompts[row]), negative, seeds, config)[row] for row in range(3)]
    batches = sample_batches(pipe, encode_all(pipe, prompts), negative, seeds, config, told=[0, 1, 2])
    torch.testing.assert_close(torch.cat(list(batches)), torch.stack(alone))
    swapped = sample_batches(pipe, encode_all(pipe, prompts), negative, seeds, config, told=[1, 1, 2])
    assert not torch.allclose(next(swapped)[0], alone[0])
