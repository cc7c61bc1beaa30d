import pytest
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel

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
