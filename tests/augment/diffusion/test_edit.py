import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from augment.diffusion.brownian import seed_brownian_paths
from augment.diffusion.conditioning import Conditioning, encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.edit import Canvases, LatentEdit, encode, outpainted, start_of, steps_of
from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample, sample_batch
from augment.diffusion.sampler_names import sampler_named
from augment.diffusion.sampler_table import SAMPLERS
from augment.diffusion.samplers import scheduler_for
from data.errors import ConfigError, DataError

pytestmark = pytest.mark.numerical

DATA_STD = 0.5
DISTILLED = ("lcm", "tcd")
MIDWAY = [name for name, row in SAMPLERS.items() if row.starts_midway and name not in DISTILLED]


def of_normal_data(alphas):
    """The exact noise prediction for independent normal data, for timesteps between the base's own too."""
    log_sigmas = np.log(((1 - alphas) / alphas).sqrt().double().numpy())

    def denoise(latents, timestep, _conditioning):
        sigma = math.exp(np.interp(float(timestep), np.arange(len(log_sigmas)), log_sigmas))
        return latents * math.sqrt(1 + sigma**2) * sigma / (DATA_STD**2 + sigma**2)

    return denoise


def base():
    own = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    scheduler = DPMSolverMultistepScheduler(**own, prediction_type="epsilon")
    return SimpleNamespace(scheduler=scheduler), scheduler.alphas_cumprod


def edited(name, steps, strength, n=8, redraw=None):
    """Normal data, its edit by the exact denoiser, and the noise level at which that starts."""
    if SAMPLERS[sampler_named(name).name].package is not None:
        pytest.importorskip("torchsde")
    pipe, alphas = base()
    scheduler, row = scheduler_for(pipe, name, steps), sampler_named(name).row
    generators = [torch.Generator().manual_seed(seed) for seed in range(n)]
    noise = torch.stack([torch.randn(4, 8, 8, generator=each) for each in generators])
    clean = DATA_STD * torch.randn(noise.shape, generator=torch.Generator().manual_seed(99))
    start = start_of(scheduler, strength)
    edit = LatentEdit(scheduler=scheduler, start=start, clean=clean, noise=noise, redraw=redraw)
    latents = edit.starting_latents()
    if row.is_brownian:
        seed_brownian_paths(scheduler, latents, range(n))
    made = sample(
        of_normal_data(alphas), latents, Conditioning(torch.zeros(n, 1, 1)), scheduler, start=start,
        generators=generators if row.takes_generator else None, after_step=edit.after_step,
    )  # fmt: skip
    alpha = alphas[round(float(scheduler.timesteps[start]))].sqrt()
    sigma = float((1 - alpha**2).sqrt() / alpha)
    return clean, made, (clean + sigma * noise) * DATA_STD / math.sqrt(DATA_STD**2 + sigma**2)


@pytest.mark.parametrize("name", [name for name in MIDWAY if not SAMPLERS[name].adds_noise])
def test_an_ode_sampler_that_starts_midway_nears_the_exact_solution_from_there(name):
    _, made, exact = edited(name, 60, 0.5)
    assert float((made - exact).square().mean().sqrt()) < 0.06 * DATA_STD


@pytest.mark.parametrize("name", [name for name in MIDWAY if SAMPLERS[name].adds_noise])
def test_a_sampler_that_adds_noise_keeps_the_data_s_spread_from_midway(name):
    clean, made, _ = edited(name, 60, 0.25)
    assert float(made.std()) == pytest.approx(DATA_STD, rel=0.15)
    assert 0.2 < float(torch.corrcoef(torch.stack([made.flatten(), clean.flatten()]))[0, 1]) < 0.9


def test_the_samplers_that_are_refused_are_those_that_go_wrong_midway():
    assert {name for name, row in SAMPLERS.items() if not row.starts_midway} == {"lms", "plms"}
    error = {
        name: float((made - exact).std()) for name in ("lms", "euler") for _, made, exact in [edited(name, 8, 0.5)]
    }
    assert error["lms"] > 1.5 * error["euler"]  # an order that it has no steps for
    whole = scheduler_for(base()[0], "plms", 8).timesteps.tolist()
    assert whole[1] == whole[2]  # the second call is at the timestep to which the first went, and goes there again
    assert len(set(whole[4:])) == len(whole[4:])


@pytest.mark.parametrize("name", [*MIDWAY, *DISTILLED])
def test_what_a_mask_keeps_is_the_photograph_s_own_in_the_end(name):
    redraw = torch.zeros(2, 1, 8, 8)
    redraw[:, :, :4] = 1
    clean, made, _ = edited(name, 6, 0.5, n=2, redraw=redraw)
    assert torch.equal(made[:, :, 4:], clean[:, :, 4:])
    assert torch.isfinite(made).all()
    assert not torch.equal(made[:, :, :4], clean[:, :, :4])


@pytest.mark.parametrize("name", MIDWAY)
def test_every_sampler_makes_as_many_steps_as_the_strength_says(name):
    if SAMPLERS[name].package is not None:
        pytest.importorskip("torchsde")
    scheduler = scheduler_for(base()[0], name, 20)
    calls = [len(scheduler.timesteps) - start_of(scheduler, strength) for strength in (0.05, 0.25, 0.7, 1)]
    twice = scheduler.order == 2  # the last step needs one call alone
    assert calls == [1, 9, 27, 39] if twice else calls == [1, 5, 14, 20]


def test_a_strength_without_a_step_is_refused():
    assert [steps_of(10, strength) for strength in (0.1, 0.19, 0.7, 1.0)] == [1, 1, 7, 10]
    assert steps_of(100, 0.29) == 29  # 28.999999999999996
    with pytest.raises(ConfigError, match=r"strength 0.04 of 20 steps makes none; raise it to 0.05 or take more steps"):
        steps_of(20, 0.04)


def noise_images(n, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def canvases(n=2, size=32, **changes):
    given = {"photographs": noise_images(n, size), "names": [f"p{i}" for i in range(n)], "index": list(range(n))}
    return Canvases(**{**given, "strengths": [0.5] * n, **changes})


def masks(n=2, size=32):
    mask = np.zeros((n, size, size), bool)
    mask[:, 12:20, 12:20] = True
    return mask


def prompted(pipe, seeds):
    embeds = encode_prompt(pipe, "dermoscopy of a melanoma")
    return PromptedSeeds(prompt_embeds=embeds, negative_embeds=encode_prompt(pipe, ""), seeds=seeds)


def sampled(pipe, seeds, given, **changes):
    config = SamplerConfig(**{"steps": 4, "batch_size": 2, **changes})
    return sample_batch(pipe, prompted(pipe, seeds), config, canvases=given)


def test_at_strength_one_without_a_mask_an_image_is_that_of_its_prompt_alone(pipe):
    assert torch.equal(sampled(pipe, [3, 4], canvases(strengths=[1, 1])), sampled(pipe, [3, 4], None))


def test_the_less_the_strength_the_nearer_are_the_latents_to_the_photographs(pipe):
    own = encode(pipe, canvases().photographs)
    found = [sampled(pipe, [3, 4], canvases(strengths=[s, s])) for s in (0.25, 0.5, 0.75, 1)]
    distances = [float((latents - own).square().mean()) for latents in found]
    assert distances == sorted(distances)


def test_photographs_are_encoded_to_the_mean_by_the_base_s_autoencoder(pipe):
    pixels = noise_images(2)
    given = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    mean = pipe.vae.encode(given).latent_dist.mean * pipe.vae.config.scaling_factor
    assert torch.allclose(encode(pipe, pixels), mean, atol=1e-5)


def test_an_image_does_not_depend_on_the_others_of_its_batch(pipe):
    given = canvases(3, redraw=masks(3), strengths=[0.75] * 3)
    alone = sampled(pipe, [8], given.part(slice(1, 2)))
    beside = sampled(pipe, [7, 8], given.part(slice(0, 2)))
    assert torch.allclose(alone[0], beside[1], atol=1e-4)


def test_a_step_s_number_of_images_have_one_strength():
    given = canvases(6, strengths=[1, 1, 1, 0.5, 0.5, 0.25])
    assert [given.batch_from(first, 2) for first in (0, 2, 3, 5)] == [
        slice(0, 2),
        slice(2, 3),
        slice(3, 5),
        slice(5, 6),
    ]
    assert len(given.part(slice(2, 4))) == 2
    assert given.part(slice(5, 6)).padded(3).strengths == [0.25] * 3


def test_bytes_outside_the_feather_are_the_photograph_s_and_those_inside_are_drawn(pipe):
    given = canvases(redraw=masks(), mask_blur=1)
    drawn = decode(pipe, sampled(pipe, [3, 4], given))
    found = given.paste(drawn)
    far = np.ones((32, 32), bool)
    far[12 - 3 : 20 + 3, 12 - 3 : 20 + 3] = False
    assert (found[:, far] == given.photographs[:, far]).all()
    assert (found[:, 15:17, 15:17] == drawn[:, 15:17, 15:17]).all()
    hard = canvases(redraw=masks(), mask_blur=0).paste(drawn)
    assert (hard[:, 12:20, 12:20] == drawn[:, 12:20, 12:20]).all()
    assert (hard[masks() == 0] == given.photographs[masks() == 0]).all()
    whole = canvases()
    assert whole.paste(drawn) is drawn


def test_masks_that_are_empty_full_or_of_another_size_are_refused_with_their_photograph():
    for value, word in ((0, "empty"), (1, "full")):
        wrong = masks()
        wrong[1] = value
        with pytest.raises(DataError, match=f"p1: its mask is {word}; correct it"):
            canvases(redraw=wrong)
    with pytest.raises(DataError, match="masks of"):
        canvases(redraw=masks(size=16))


def test_outpainting_repeats_the_edges_of_a_smaller_photograph_and_redraws_them():
    photograph = np.full((1, 32, 32, 3), 90, np.uint8)
    photograph[:, :16] = 200
    padded, around = outpainted(photograph, 0.125)
    assert around.sum() == 32 * 32 - 24 * 24
    assert not around[0, 4:28, 4:28].any()
    assert set(np.unique(padded[:, :16])) == {200}
    assert set(np.unique(padded[:, 16:])) == {90}
    for padding in (0.01, 0.5):
        with pytest.raises(ConfigError, match=r"generate\.edit\.padding"):
            outpainted(photograph, padding)
