import copy

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from augment import device
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.conditioning import Conditioning, encode_prompt, encode_prompts, unet_denoise
from augment.diffusion.decode import decode
from augment.diffusion.presets import preset_sampler
from augment.diffusion.sample import (
    PromptedSeeds,
    SamplerConfig,
    guided_until,
    require_size,
    sample,
    sample_batch,
    sample_latents,
    starting_noise,
)
from augment.diffusion.sampler_table import SAMPLERS, Sampler
from augment.diffusion.samplers import build_scheduler, scheduler_for
from augment.methods.weights import with_parts
from data.errors import ConfigError

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


def images(pipe, seeds, negative="", **options):
    embeds, negative_embeds = encode_prompt(pipe, PROMPT), encode_prompt(pipe, negative)
    return decode(pipe, sample_latents(pipe, embeds, negative_embeds, seeds, SamplerConfig(**options)))


def generators(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_images_are_those_of_diffusers_own_pipeline(base_of_each_kind, guidance_scale):
    seeds = [5, 6, 7]
    reference = with_parts(base_of_each_kind, scheduler=build_scheduler(base_of_each_kind, "dpm++-2m"))(
        PROMPT,
        negative_prompt="hair",
        num_inference_steps=5,
        guidance_scale=guidance_scale,
        num_images_per_prompt=3,
        generator=generators(seeds),
        output_type="np",
    ).images
    ours = images(base_of_each_kind, seeds, "hair", steps=5, guidance_scale=guidance_scale, batch_size=3)
    assert np.abs(ours - np.round(reference * 255)).max() <= 1


PLAIN = [name for name, row in SAMPLERS.items() if not row.is_brownian]  # diffusers has one path for a whole batch


@pytest.mark.parametrize("sampler", [*PLAIN, "dpm++-2m-karras", "dpm2-a-karras", "euler-beta", "dpm++-2m-sde-lu"])
def test_every_sampler_is_diffusers_own_with_each_images_own_noise(pipe, sampler):
    seeds = [5, 6, 7]
    reference = with_parts(pipe, scheduler=scheduler_for(pipe, sampler, 4))(
        PROMPT,
        num_inference_steps=4,
        guidance_scale=1.0,
        num_images_per_prompt=3,
        generator=generators(seeds),
        eta=0.3 if sampler == "tcd" else 0.0,  # of TCD's own noise; DDIM would add some too
        output_type="np",
    ).images
    config = SamplerConfig(steps=4, guidance_scale=1.0, batch_size=2)
    wanted = prompted(pipe, seeds)
    batches = [sample_batch(pipe, wanted.part(rows), config, sampler=sampler) for rows in (slice(2), slice(2, 3))]
    assert np.abs(decode(pipe, torch.cat(batches)) - np.round(reference * 255)).max() <= 1


def prompted(pipe, seeds, prompts=(PROMPT,), prompt_index=None):
    return PromptedSeeds(
        prompt_embeds=encode_prompts(pipe, prompts),
        negative_embeds=encode_prompt(pipe, ""),
        seeds=seeds,
        prompt_index=prompt_index,
    )


@pytest.fixture
def loop(pipe):
    """Arguments of `sample` for two images: a denoiser, noise and a prompt."""
    noise = starting_noise(pipe, generators([1, 2]))
    return unet_denoise(pipe.unet), noise, Conditioning(encode_prompt(pipe, PROMPT).expand(2, -1, -1).clone())


@torch.inference_mode()
def test_after_each_step_its_number_and_latents_are_given_and_what_comes_back_replaces_them(pipe, loop):
    numbers = []

    def scale(step, latents):
        numbers.append(step)
        return latents * 0.5 if step == 4 else latents

    plain = sample(*loop, scheduler_for(pipe, "dpm++-2m", 5))
    scaled = sample(*loop, scheduler_for(pipe, "dpm++-2m", 5), after_step=scale)
    assert numbers == [0, 1, 2, 3, 4]
    assert torch.equal(scaled, plain * 0.5)


@torch.inference_mode()
@pytest.mark.parametrize("sampler", ["dpm++-2m", "ddim"])
def test_a_loop_that_starts_at_a_step_ends_as_the_whole_loop_does(pipe, loop, sampler):
    kept = {}

    def keep(step, latents):
        kept[step] = latents.clone(), copy.deepcopy(scheduler)
        return latents

    scheduler = scheduler_for(pipe, sampler, 6)
    whole = sample(*loop, scheduler, after_step=keep)
    latents, scheduler_then = kept[2]  # a multistep solver remembers the predictions of earlier steps
    denoise, _, conditioning = loop
    assert torch.equal(sample(denoise, latents, conditioning, scheduler_then, start=3), whole)
    if sampler == "ddim":  # one that does not, goes on from the latents alone
        fresh = scheduler_for(pipe, sampler, 6)
        assert torch.equal(sample(denoise, latents, conditioning, fresh, start=3), whole)


@pytest.fixture(scope="module")
def embedded():
    return load_base(BaseConfig())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_finite_and_an_image_is_the_same_beside_any_others(embedded, sampler):
    if SAMPLERS[sampler].package is not None:
        pytest.importorskip(SAMPLERS[sampler].package)
    config = SamplerConfig(steps=4, batch_size=2)
    one, other = (sample_batch(embedded, prompted(embedded, [seed, 6]), config, sampler=sampler) for seed in (5, 7))
    assert torch.isfinite(one).all()
    assert torch.equal(one[1], other[1])
    assert not torch.allclose(one[0], other[0])


def test_a_brownian_path_comes_from_the_images_own_seed(pipe):
    pytest.importorskip("torchsde")
    config = SamplerConfig(steps=3, batch_size=3)
    whole, one = (sample_batch(pipe, prompted(pipe, seeds), config, sampler="dpm++-sde") for seeds in ([4, 5, 6], [5]))
    torch.testing.assert_close(one[0], whole[1], atol=1e-4, rtol=1e-3)


def test_a_sampler_is_added_by_one_row_of_the_table(pipe, monkeypatch):
    row = Sampler(
        names=("DDPM",), scheduler=DDPMScheduler, options={"clip_sample": False}, spacings=(), adds_noise=True
    )
    monkeypatch.setitem(SAMPLERS, "ddpm", row)
    config = SamplerConfig(steps=6, guidance_scale=3.0, batch_size=2)
    ours = decode(pipe, sample_batch(pipe, prompted(pipe, [5, 6]), config, sampler="DDPM"))
    reference = with_parts(pipe, scheduler=build_scheduler(pipe, "ddpm"))(
        PROMPT,
        num_inference_steps=6,
        guidance_scale=3.0,
        num_images_per_prompt=2,
        generator=generators([5, 6]),
        output_type="np",
    ).images
    assert np.abs(ours - np.round(reference * 255)).max() <= 1


def test_image_17_is_the_same_in_any_batch(pipe):
    seeds = list(range(20))
    whole = images(pipe, seeds, steps=3, batch_size=20)
    for batch_size in (1, 7):
        few = images(pipe, seeds[15:19], steps=3, batch_size=batch_size)
        assert np.abs(few[2].astype(int) - whole[17]).max() <= 1


def test_an_image_does_not_depend_on_its_neighbours(pipe):
    def latents(seeds):
        config = SamplerConfig(steps=3, batch_size=4)
        return sample_latents(pipe, encode_prompt(pipe, PROMPT), encode_prompt(pipe, ""), seeds, config)

    whole = latents(list(range(7)))
    assert torch.equal(latents([0])[0], whole[0])  # to the bit at one place of a batch, which is always filled up
    assert torch.equal(latents([9, 8, 2, 7])[2], whole[2])
    # Rounding differs at another place, and between batch sizes of the decoder.
    torch.testing.assert_close(latents([6, 5, 0]), whole[[6, 5, 0]], atol=1e-4, rtol=1e-3)
    pixels, few = (decode(pipe, each).astype(int) for each in (whole, whole[5:6]))
    assert np.abs(few[0] - pixels[5]).max() <= 1


def test_guidance_ends_after_its_share_of_the_steps(pipe):
    calls = []
    counted = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    counted.unet.register_forward_hook(lambda _module, given, _result: calls.append(given[0].shape))
    for end, n_guided in ((1.0, 10), (0.5, 5), (0.0, 0)):
        calls.clear()
        images(counted, [1, 2, 3], steps=10, guidance_end=end, batch_size=2)
        batches = [(4, 8, 4, 4)] * n_guided + [(2, 8, 4, 4)] * (10 - n_guided)  # few images: both halves in one call
        assert calls == batches * 2
    calls.clear()
    images(counted, [1], steps=10, guidance_scale=1.0, batch_size=1)
    assert len(calls) == 10


@pytest.mark.parametrize("preset", ["quality", "fast"])
def test_as_many_steps_are_guided_as_their_share_rounds_to(pipe, preset):
    for steps in (1, 5, 10, 20):
        timesteps = scheduler_for(pipe, preset_sampler(pipe, preset), steps).timesteps
        for end in (0.0, 0.3, 0.5, 1.0):
            assert int((timesteps >= guided_until(timesteps, end)).sum()) == round(steps * end)


@pytest.mark.parametrize("sampler", ["heun", "dpm2", "dpm2-a", "plms", "euler-karras"])
def test_the_share_with_guidance_is_of_the_denoisers_calls(pipe, sampler):
    """Within a call: those at one timestep have guidance together, so the guided denoiser depends on noise alone."""
    timesteps = scheduler_for(pipe, sampler, 20).timesteps
    for end in (0.0, 0.3, 0.5, 1.0):
        guided = int((timesteps >= guided_until(timesteps, end)).sum())
        assert abs(guided - round(len(timesteps) * end)) <= (1 if 0 < end < 1 else 0)


@pytest.mark.parametrize("compiled", [False, True])
def test_guidance_in_one_call_and_in_two_makes_the_same_images(pipe, monkeypatch, compiled):
    seeds, options = [1, 2, 3], {"steps": 4, "guidance_scale": 3.0, "batch_size": 3}
    in_one_call = images(pipe, seeds, **options)
    other = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    calls = []
    other.unet.register_forward_hook(lambda _module, given, _result: calls.append(len(given[0])))
    if compiled:
        other.unet._compiled_call_impl = other.unet._call_impl
    else:
        monkeypatch.setattr("augment.diffusion.sample.one_call_is_faster", lambda *_: False)
    in_two_calls = images(other, seeds, **options)
    assert calls == [3] * 8
    assert np.abs(in_two_calls.astype(int) - in_one_call).max() <= 1


def test_no_guidance_at_all_is_the_conditional_model_alone(pipe):
    plain = images(pipe, [1, 2], steps=4, guidance_scale=1.0, batch_size=2)
    unguided = images(pipe, [1, 2], steps=4, guidance_scale=9.0, guidance_end=0.0, batch_size=2)
    assert np.array_equal(unguided, plain)
    assert not np.array_equal(images(pipe, [1, 2], steps=4, guidance_scale=9.0, batch_size=2), plain)


def test_a_seed_means_the_same_noise_as_in_diffusers(pipe):
    expected = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(11))
    assert torch.equal(starting_noise(pipe, generators([10, 11]))[1:], expected)
    assert starting_noise(pipe, generators([10]), size=64).shape == (1, 8, 8, 8)


def test_starting_noise_has_the_latents_channels_whatever_else_the_unet_takes(pipe):
    inpainting = copy.copy(pipe)
    inpainting.unet = copy.deepcopy(pipe.unet)
    inpainting.unet.register_to_config(in_channels=17)  # latents, a mask and the masked image's latents
    assert starting_noise(inpainting, generators([10])).shape == (1, 8, 4, 4)


def test_a_size_that_the_base_cannot_make_is_refused(pipe):
    require_size(pipe, 48)
    with pytest.raises(ConfigError, match=r"pixels\.size is 40, but this base makes multiples of 16"):
        require_size(pipe, 40)


def test_sixteen_bits_make_nearly_the_same_images(pipe):
    half = device.to_device(copy.deepcopy(pipe), torch.device("cpu"), torch.float16)
    options = {"steps": 3, "batch_size": 2}
    assert half.unet.dtype == torch.float16
    assert np.abs(images(half, [1, 2], **options).astype(int) - images(pipe, [1, 2], **options)).max() <= 6


def test_each_image_may_have_a_prompt_of_its_own(pipe):
    prompts, seeds, config = [PROMPT, "drawing", "hair"], [1, 2, 3], SamplerConfig(steps=2, batch_size=4)
    negative = encode_prompt(pipe, "")
    alone = [sample_latents(pipe, encode_prompt(pipe, prompts[row]), negative, seeds, config)[row] for row in range(3)]
    found = sample_batch(pipe, prompted(pipe, seeds, prompts, [0, 1, 2]), config)
    torch.testing.assert_close(found, torch.stack(alone))
    swapped = sample_batch(pipe, prompted(pipe, seeds, prompts, [1, 1, 2]), config)
    assert not torch.allclose(swapped[0], alone[0])


def test_a_part_of_the_seeds_keeps_its_prompts(pipe):
    wanted = prompted(pipe, [1, 2, 3], [PROMPT, "drawing"], [0, 1, 0])
    part = wanted.part(slice(1, 3))
    assert (part.seeds, part.prompt_index, len(part)) == ([2, 3], [1, 0], 2)
    text, uncond = part.conditioning(4)
    assert torch.equal(text.prompt_embeds, wanted.prompt_embeds[[1, 0, 0, 0]])
    assert torch.equal(uncond.prompt_embeds, wanted.negative_embeds.expand(4, -1, -1))
