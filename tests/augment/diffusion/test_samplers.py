import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    TCDScheduler,
    UNet2DConditionModel,
)

from augment.diffusion.samplers import (
    ALIGN_YOUR_STEPS,
    FEW_STEP_SAMPLERS,
    PRESETS,
    SAMPLERS,
    align_your_steps,
    alphas_cumprod,
    build_scheduler,
    is_stable_diffusion_1,
    preset_sampler,
    scheduler_for,
)
from augment.methods.weights import with_parts


@pytest.fixture(params=["v_prediction", "epsilon"])
def base_of_each_kind(request, pipe):
    scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, prediction_type=request.param)
    return with_parts(pipe, scheduler=scheduler)


@pytest.fixture
def sd1(pipe):
    """Stable Diffusion 1.x by noise schedule and text width; its sizes do not matter here."""
    scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, prediction_type="epsilon", timestep_spacing="leading"
    )
    unet = UNet2DConditionModel.from_config(pipe.unet.config, cross_attention_dim=768)
    return with_parts(pipe, scheduler=scheduler, unet=unet)


def timesteps(pipe, preset, steps):
    return scheduler_for(pipe, preset_sampler(pipe, preset), steps).timesteps.tolist()


def test_a_velocity_predicting_base_starts_from_pure_noise(base_of_each_kind):
    config = base_of_each_kind.scheduler.config
    first = int(scheduler_for(base_of_each_kind, "dpmsolver++2m", 10).timesteps[0])
    trailing = config.prediction_type == "v_prediction" or config.timestep_spacing == "trailing"
    assert (first == 999) == trailing


def test_ten_fast_steps_of_stable_diffusion_1_are_the_published_table(sd1):
    assert is_stable_diffusion_1(sd1)
    published = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]  # NVIDIA's page on Align Your Steps
    assert timesteps(sd1, "fast", 10) == list(ALIGN_YOUR_STEPS) == published
    assert timesteps(sd1, "quality", 10) != published


def test_other_counts_lie_between_the_tables_noise_levels(sd1):
    alphas = alphas_cumprod(sd1)
    assert align_your_steps(alphas, 20)[::2] == pytest.approx(ALIGN_YOUR_STEPS, abs=1)
    for steps in range(1, PRESETS["fast"].max_steps + 1):
        found = align_your_steps(alphas, steps)
        assert len(found) == steps
        assert found[0] == 999
        assert found == sorted(found, reverse=True)


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
        for name in ("dpmsolver++2m", "dpmsolver++2m-karras", "dpmsolver++2m-ays"):
            found, expected = (scheduler_for(each, name, 10) for each in (other, base))
            assert torch.equal(found.timesteps, expected.timesteps)
            assert torch.equal(found.sigmas, expected.sigmas)


def test_fast_steps_of_another_base_are_karras(pipe):
    assert preset_sampler(pipe, "fast") == "dpmsolver++2m-karras"
    scheduler = scheduler_for(pipe, "dpmsolver++2m-karras", 10)
    sigma = np.asarray(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5)
    ends = sigma[-1] ** (1 / 7), sigma[0] ** (1 / 7)  # Karras et al. 2022, eq. 5
    torch.testing.assert_close(
        scheduler.sigmas[:-1].double(), torch.linspace(*ends, 10, dtype=torch.float64) ** 7, rtol=1e-5, atol=0
    )
    assert int(scheduler.timesteps[0]) == 999


@pytest.mark.parametrize(("kind", "cls"), [("lcm", LCMScheduler), ("tcd", TCDScheduler), ("hyper-sd", DDIMScheduler)])
def test_each_kind_of_few_step_lora_has_its_sampler(sd1, kind, cls):
    assert preset_sampler(sd1, "few-step", kind) == FEW_STEP_SAMPLERS[kind]
    scheduler = scheduler_for(sd1, FEW_STEP_SAMPLERS[kind], 4)
    assert type(scheduler) is cls
    assert len(scheduler.timesteps) == 4
    assert int(scheduler.timesteps[0]) == 999
    assert scheduler.config.prediction_type == "epsilon"
    with pytest.raises(ValueError, match="few-step has no sampler without the kind"):
        preset_sampler(sd1, "few-step")


def test_all_that_presets_and_kinds_name_are_rows_of_the_table():
    named = {preset.sampler for preset in PRESETS.values()} | {preset.sampler_sd1 for preset in PRESETS.values()}
    assert {*named, *FEW_STEP_SAMPLERS.values()} - {None} == set(SAMPLERS)


def test_each_samplers_step_takes_a_generator_if_its_row_says_so(pipe):
    for name, row in SAMPLERS.items():
        assert ("generator" in row.scheduler.step.__annotations__) == row.takes_generator
        assert isinstance(build_scheduler(pipe, name), row.scheduler)


def test_the_embedded_base_is_not_stable_diffusion_1(pipe):
    assert not is_stable_diffusion_1(pipe)


def test_the_noise_schedule_is_the_bases_own(pipe):
    assert torch.equal(alphas_cumprod(pipe), pipe.scheduler.alphas_cumprod)
