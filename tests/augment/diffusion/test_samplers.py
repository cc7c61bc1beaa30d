import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    TCDScheduler,
    UNet2DConditionModel,
)

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.diffusion.samplers import ALIGNED, MOST_STEPS, aligned, is_stable_diffusion_1, solver, solver_for
from augment.methods.weights import with_parts


@pytest.fixture(params=["v_prediction", "epsilon"])
def kind(request, pipe):
    scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, prediction_type=request.param)
    return with_parts(pipe, scheduler=scheduler)


@pytest.fixture
def first(pipe):
    """Told by noise schedule and text as Stable Diffusion 1.x; its sizes do not matter here."""
    scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, prediction_type="epsilon", timestep_spacing="leading"
    )
    unet = UNet2DConditionModel.from_config(pipe.unet.config, cross_attention_dim=768)
    return with_parts(pipe, scheduler=scheduler, unet=unet)


def levels(pipe, name, steps):
    return solver_for(pipe, name, steps).timesteps.tolist()


def test_a_velocity_predicting_base_starts_from_pure_noise(kind):
    scheduler = solver(kind)
    scheduler.set_timesteps(10)
    trailing = kind.scheduler.config.prediction_type == "v_prediction"
    assert (int(scheduler.timesteps[0]) == 999) == (trailing or kind.scheduler.config.timestep_spacing == "trailing")


def test_ten_fast_steps_of_stable_diffusion_1_are_the_published_table(first):
    assert is_stable_diffusion_1(first)
    published = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]  # NVIDIA's page on Align Your Steps
    assert levels(first, "fast", 10) == list(ALIGNED) == published
    assert levels(first, "quality", 10) != published


def test_other_counts_lie_between_the_tables_levels(first):
    alphas = solver(first).alphas_cumprod
    assert aligned(alphas, 20)[::2] == pytest.approx(ALIGNED, abs=1)
    for steps in range(1, MOST_STEPS["fast"] + 1):
        found = aligned(alphas, steps)
        assert len(found) == steps
        assert found[0] == 999
        assert found == sorted(found, reverse=True)


OWN_LEVELS = [
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"final_sigmas_type": "sigma_min"},
]


@pytest.mark.parametrize("own", OWN_LEVELS, ids=lambda own: next(iter(own)))
def test_a_schedule_means_the_same_levels_whatever_the_bases_own_scheduler_asks_for(first, pipe, own):
    for base in (first, pipe):
        other = with_parts(base, scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler.config, **own))
        for name in ("quality", "fast"):
            found, expected = (solver_for(each, name, 10) for each in (other, base))
            assert torch.equal(found.timesteps, expected.timesteps)
            assert torch.equal(found.sigmas, expected.sigmas)


def test_fast_steps_of_another_base_are_karras(pipe):
    assert not is_stable_diffusion_1(pipe)
    scheduler = solver_for(pipe, "fast", 10)
    sigma = np.asarray(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5)
    ends = sigma[-1] ** (1 / 7), sigma[0] ** (1 / 7)  # Karras et al. 2022, eq. 5
    torch.testing.assert_close(
        scheduler.sigmas[:-1].double(), torch.linspace(*ends, 10, dtype=torch.float64) ** 7, rtol=1e-5, atol=0
    )
    assert int(scheduler.timesteps[0]) == 999


@pytest.mark.parametrize(("name", "cls"), [("lcm", LCMScheduler), ("tcd", TCDScheduler), ("hyper-sd", DDIMScheduler)])
def test_each_kind_of_draft_has_its_solver(first, name, cls):
    scheduler = solver_for(first, name, 4)
    assert type(scheduler) is cls
    assert len(scheduler.timesteps) == 4
    assert int(scheduler.timesteps[0]) == 999
    assert scheduler.config.prediction_type == "epsilon"


def test_the_embedded_base_is_no_stable_diffusion_1():
    made = build_tiny_model(TinyModelConfig())
    assert isinstance(made, StableDiffusionPipeline)
    assert not is_stable_diffusion_1(made)
