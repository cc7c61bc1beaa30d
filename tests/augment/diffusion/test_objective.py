import pytest
import torch
from diffusers import DDPMScheduler

from augment.diffusion.objective import min_snr_weights, noised, stratified_timesteps, target


def test_each_stratum_of_the_noise_levels_gets_one_timestep():
    timesteps = stratified_timesteps(10, 1000, torch.Generator().manual_seed(0))
    assert sorted(int(t) // 100 for t in timesteps) == list(range(10))
    assert timesteps.tolist() != sorted(timesteps.tolist())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noise_and_targets_are_those_of_diffusers(kind):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=kind)
    clean, noise = torch.randn(2, 4, 3, 5, 5)
    timesteps = torch.tensor([0, 10, 500, 999])
    alphas = scheduler.alphas_cumprod[timesteps]
    torch.testing.assert_close(noised(clean, noise, alphas), scheduler.add_noise(clean, noise, timesteps))
    expected = noise if kind == "epsilon" else scheduler.get_velocity(clean, noise, timesteps)
    torch.testing.assert_close(target(clean, noise, alphas, kind), expected)


def test_another_prediction_type_is_refused():
    ones = torch.ones(1, 1, 1, 1)
    with pytest.raises(ValueError, match="'sample' is neither"):
        target(ones, ones, torch.ones(1), "sample")


def test_min_snr_weighs_the_clean_images_error_alike_whatever_is_predicted():
    """By hand: snr = 4 and 1/4, gamma = 1. An error d in the noise is one of d / sqrt(snr) in the image,
    one in the velocity of d / sqrt(snr + 1)."""
    alphas = torch.tensor([0.8, 0.2])
    torch.testing.assert_close(min_snr_weights(alphas, "epsilon", 1.0), torch.tensor([1 / 4, 1.0]))
    torch.testing.assert_close(min_snr_weights(alphas, "v_prediction", 1.0), torch.tensor([1 / 5, 0.25 / 1.25]))
    assert min_snr_weights(alphas, "epsilon", None).tolist() == [1, 1]
