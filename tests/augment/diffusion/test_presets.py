import pytest
from diffusers import DDIMScheduler, LCMScheduler, TCDScheduler

from augment.diffusion.presets import FEW_STEP_SAMPLERS, PRESETS, is_stable_diffusion_1, preset_sampler
from augment.diffusion.sampler_names import sampler_named
from augment.diffusion.sampler_table import ALIGN_YOUR_STEPS
from augment.diffusion.samplers import scheduler_for


def timesteps(pipe, preset, steps):
    return scheduler_for(pipe, preset_sampler(pipe, preset), steps).timesteps.tolist()


def test_ten_fast_steps_of_stable_diffusion_1_are_the_published_table(sd1):
    assert is_stable_diffusion_1(sd1)
    published = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]  # NVIDIA's page on Align Your Steps
    assert timesteps(sd1, "fast", 10) == list(ALIGN_YOUR_STEPS) == published
    assert timesteps(sd1, "quality", 10) != published


def test_fast_steps_of_another_base_are_karras(pipe):
    assert preset_sampler(pipe, "fast") == "dpm++-2m-karras"


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


def test_all_that_presets_and_kinds_name_are_canonical_names():
    named = {preset.sampler for preset in PRESETS.values()} | {preset.sampler_sd1 for preset in PRESETS.values()}
    for name in {*named, *FEW_STEP_SAMPLERS.values()} - {None}:
        assert str(sampler_named(name)) == name


def test_the_embedded_base_is_not_stable_diffusion_1(pipe):
    assert not is_stable_diffusion_1(pipe)
