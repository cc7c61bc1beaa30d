import importlib.util
import inspect

import numpy as np
import pytest

from augment.diffusion.presets import PRESETS
from augment.diffusion.sampler_table import ALIGN_YOUR_STEPS, SAMPLERS, SPACINGS, align_your_steps
from augment.diffusion.samplers import alphas_cumprod, scheduler_for

INSTALLED = [name for name, row in SAMPLERS.items() if row.package is None or importlib.util.find_spec(row.package)]
OF_DIFFUSERS_TIMESTEPS = {"linspace", "leading", "trailing"}


@pytest.mark.parametrize("name", INSTALLED)
def test_each_samplers_step_takes_a_generator_if_its_row_says_so(name):
    row = SAMPLERS[name]
    assert ("generator" in inspect.signature(row.scheduler.step).parameters) == row.takes_generator
    assert not (row.adds_noise and not row.takes_generator and not row.is_brownian)  # noise that no seed decides


@pytest.mark.parametrize("name", INSTALLED)
def test_a_row_has_the_spacings_that_its_scheduler_takes(name):
    row, known = SAMPLERS[name], inspect.signature(SAMPLERS[name].scheduler.__init__).parameters
    takes = {spacing for spacing, each in SPACINGS.items() if each.flag in known}
    takes |= OF_DIFFUSERS_TIMESTEPS if "timestep_spacing" in known else set()
    left_out = takes - set(row.spacings)
    assert set(row.spacings) - takes <= {"ays"}
    if name in {"lcm", "tcd", "ddim-hyper-sd"}:  # set up as those who distilled for them did
        assert not row.spacings
    else:
        assert left_out == ({"linspace"} if name in {"ddim", "plms"} else set())


@pytest.mark.parametrize("name", INSTALLED)
def test_each_spacing_has_timesteps_of_its_own(pipe, name):
    found = {spacing: scheduler_for(pipe, f"{name}-{spacing}", 7).timesteps for spacing in SAMPLERS[name].spacings}
    assert len({tuple(timesteps.tolist()) for timesteps in found.values()}) == len(found)
    for spacing in {"karras", "exponential", "beta", "linspace"} & found.keys():
        assert float(found[spacing][0]) == pytest.approx(999, abs=1)  # of some schedulers rounded down


def test_other_counts_lie_between_the_tables_noise_levels(sd1):
    alphas = alphas_cumprod(sd1)
    assert align_your_steps(alphas, 20)[::2] == pytest.approx(ALIGN_YOUR_STEPS, abs=1)
    for steps in range(1, PRESETS["fast"].max_steps + 1):
        found = align_your_steps(alphas, steps)
        assert len(found) == steps
        assert found[0] == 999
        assert found == sorted(found, reverse=True)


def test_the_spacings_of_two_steps_are_known_by_hand(pipe):
    assert scheduler_for(pipe, "euler-linspace", 2).timesteps.tolist() == [999, 0]
    assert scheduler_for(pipe, "euler-trailing", 2).timesteps.tolist() == [999, 499]
    sigmas = ((1 - alphas_cumprod(pipe)) / alphas_cumprod(pipe)).sqrt().numpy()
    ends = np.log(sigmas[-1]), np.log(sigmas[0])
    found = scheduler_for(pipe, "euler-exponential", 3).sigmas.numpy()
    assert found[:-1] == pytest.approx(np.exp(np.linspace(*ends, 3)), rel=1e-4)
    assert found[-1] == 0
