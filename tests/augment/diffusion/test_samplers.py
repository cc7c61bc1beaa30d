import importlib.util
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from augment.diffusion.brownian import seed_brownian_paths
from augment.diffusion.conditioning import Conditioning
from augment.diffusion.sample import sample
from augment.diffusion.sampler_names import sampler_named
from augment.diffusion.sampler_table import SAMPLERS
from augment.diffusion.samplers import alphas_cumprod, build_scheduler, sampler_identity, scheduler_for
from augment.methods.weights import with_parts
from data.errors import ConfigError

DATA_STD = 0.5
DISTILLED = {"lcm", "tcd"}  # they jump to the denoised image, which is right for distilled bases alone
KNOWN = [name for name in SAMPLERS if name not in DISTILLED]


def of_normal_data(alphas, prediction_type):
    """The exact denoiser of independent normal data, for timesteps between the base's own too."""
    log_sigmas = np.log(((1 - alphas) / alphas).sqrt().double().numpy())

    def denoise(latents, timestep, _conditioning):
        sigma = math.exp(np.interp(float(timestep), np.arange(len(log_sigmas)), log_sigmas))
        alpha = 1 / math.sqrt(1 + sigma**2)
        score = latents / (alpha**2 * (DATA_STD**2 + sigma**2))
        noise, data = alpha * sigma * score, alpha * DATA_STD**2 * score
        return alpha * noise - alpha * sigma * data if prediction_type == "v_prediction" else noise

    return denoise


def sampled(prediction_type, name, steps, n=8):
    """Starting noise and what a sampler makes of it with the exact denoiser."""
    if SAMPLERS[sampler_named(name).name].package is not None:
        pytest.importorskip("torchsde")
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    own = DPMSolverMultistepScheduler(**config, prediction_type=prediction_type)
    scheduler, row = scheduler_for(SimpleNamespace(scheduler=own), name, steps), sampler_named(name).row
    generators = [torch.Generator().manual_seed(seed) for seed in range(n)]
    noise = torch.stack([torch.randn(4, 8, 8, generator=each) for each in generators])
    latents = noise * scheduler.init_noise_sigma
    if row.is_brownian:
        seed_brownian_paths(scheduler, latents, range(n))
    denoise = of_normal_data(own.alphas_cumprod, prediction_type)
    made = sample(
        denoise, latents, Conditioning(torch.zeros(n, 1, 1)), scheduler,
        generators=generators if row.takes_generator else None,
    )  # fmt: skip
    last = float(own.alphas_cumprod[-1])
    return made, noise * DATA_STD / math.sqrt(last * DATA_STD**2 + 1 - last)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
@pytest.mark.parametrize("name", [name for name in KNOWN if not SAMPLERS[name].adds_noise])
def test_an_ode_sampler_nears_the_exact_solution_for_normal_data(prediction_type, name):
    made, exact = sampled(prediction_type, name, 60)
    assert float((made - exact).square().mean().sqrt()) < 0.06 * DATA_STD


@pytest.mark.parametrize("name", [name for name in KNOWN if SAMPLERS[name].adds_noise])
def test_a_sampler_that_adds_noise_ends_at_the_data_s_own_spread(name):
    made, exact = sampled("v_prediction", name, 60)
    assert float(made.std()) == pytest.approx(DATA_STD, rel=0.12)
    assert float((made - exact).square().mean().sqrt()) > DATA_STD  # elsewhere than without noise


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_few_steps_are_finite_too(name, steps):
    for prediction_type in ("v_prediction", "epsilon"):
        assert torch.isfinite(sampled(prediction_type, name, steps, n=2)[0]).all()


def test_noise_levels_whose_timesteps_coincide_are_all_passed():
    assert len(set(scheduler_for_normal("dpm++-2m-karras", 200).timesteps.tolist())) < 200
    made, exact = sampled("v_prediction", "dpm++-2m-karras", 200, n=2)
    assert float((made - exact).square().mean().sqrt()) < 0.03 * DATA_STD


def scheduler_for_normal(name, steps):
    own = DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    return scheduler_for(SimpleNamespace(scheduler=own), name, steps)


def test_a_velocity_predicting_base_starts_from_pure_noise(base_of_each_kind):
    config = base_of_each_kind.scheduler.config
    first = int(scheduler_for(base_of_each_kind, "dpm++-2m", 10).timesteps[0])
    trailing = config.prediction_type == "v_prediction" or config.timestep_spacing == "trailing"
    assert (first == 999) == trailing


OWN_NOISE_LEVELS = [
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"final_sigmas_type": "sigma_min"},
]


@pytest.mark.parametrize("own", OWN_NOISE_LEVELS, ids=lambda own: next(iter(own)))
def test_a_sampler_means_the_same_noise_levels_whatever_the_bases_own_scheduler_asks_for(sd1, pipe, own):
    for base in (sd1, pipe):
        other = with_parts(base, scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler.config, **own))
        for name in ("dpm++-2m", "dpm++-2m-karras", "dpm++-2m-ays", "euler", "unipc-karras", "heun"):
            found, expected = (scheduler_for(each, name, 10) for each in (other, base))
            assert torch.equal(found.timesteps, expected.timesteps)
            assert torch.equal(found.sigmas, expected.sigmas)


def test_karras_levels_are_evenly_spaced_in_the_seventh_root(pipe):
    scheduler = scheduler_for(pipe, "dpm++-2m-karras", 10)
    sigma = np.asarray(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5)
    ends = sigma[-1] ** (1 / 7), sigma[0] ** (1 / 7)  # Karras et al. 2022, eq. 5
    torch.testing.assert_close(
        scheduler.sigmas[:-1].double(), torch.linspace(*ends, 10, dtype=torch.float64) ** 7, rtol=1e-5, atol=0
    )
    assert int(scheduler.timesteps[0]) == 999


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dpm++-2m", {}),
        ("dpm++-2m-karras", {"use_karras_sigmas": True}),
        ("ddim-hyper-sd", {"timestep_spacing": "trailing", "clip_sample": False}),
    ],
)
def test_the_samplers_of_presets_are_what_they_were_before_samplers_had_names(base_of_each_kind, name, options):
    trailing = {"timestep_spacing": "trailing"} if base_of_each_kind.scheduler.config.prediction_type[0] == "v" else {}
    config = base_of_each_kind.scheduler.config
    expected = sampler_named(name).row.scheduler.from_config(config, **{**trailing, **options})
    expected.set_timesteps(10)
    found = scheduler_for(base_of_each_kind, name, 10)
    assert torch.equal(found.timesteps, expected.timesteps)
    if hasattr(found, "sigmas"):
        assert torch.equal(found.sigmas, expected.sigmas)
    ignored = {"timestep_spacing", "_use_default_values"} if "karras" in name else {"_use_default_values"}
    assert {key: value for key, value in found.config.items() if key not in ignored} == {
        key: value for key, value in expected.config.items() if key not in ignored
    }


def test_a_number_of_steps_that_diffusers_spaces_too_far_is_refused(pipe):
    with pytest.raises(ConfigError, match="spaces 61 steps beyond the last timestep; take 60 or 62"):
        scheduler_for(pipe, "ddim", 61)
    assert len(scheduler_for(pipe, "ddim", 62).timesteps) == 62


def test_a_sampler_that_needs_a_package_is_refused_with_the_command_where_it_is_absent(pipe, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    message = r"^sampler dpm\+\+-sde needs torchsde.*; uv pip install --python .venv torchsde, the extra `sde`, or take"
    with pytest.raises(ConfigError, match=message):
        build_scheduler(pipe, "DPM++ SDE Karras")
    with pytest.raises(ConfigError, match=message):
        sampler_identity(sampler_named("dpm++-sde"))


def test_the_package_s_version_is_part_of_what_images_depend_on():
    assert sampler_identity(sampler_named("euler-karras")) == {"sampler": "euler", "sigmas": "karras"}
    torchsde = pytest.importorskip("torchsde")
    found = sampler_identity(sampler_named("dpm++-sde"))
    assert found == {"sampler": "dpm++-sde", "sigmas": None, "torchsde": torchsde.__version__}


def test_the_noise_schedule_is_the_bases_own(pipe):
    assert torch.equal(alphas_cumprod(pipe), pipe.scheduler.alphas_cumprod)


def test_more_steps_than_a_spacing_has_different_timesteps_are_refused(pipe):
    assert len(scheduler_for(pipe, "dpm++-2m-ays", 20).timesteps) == 20
    with pytest.raises(ConfigError, match=r"dpm\+\+-2m-ays has \d+ different timesteps of 900; take fewer steps"):
        scheduler_for(pipe, "dpm++-2m-ays", 900)
