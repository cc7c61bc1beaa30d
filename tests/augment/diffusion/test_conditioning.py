import copy

import pytest
import torch

from augment.diffusion.conditioning import (
    Conditioning,
    encode_prompt,
    encode_prompts,
    guided,
    one_call_is_faster,
    unet_denoise,
)

pytestmark = pytest.mark.numerical

PROMPTS = ["dermoscopy of a melanoma", "drawing", ""]


def noise(n, seed=0):
    return torch.randn(n, 8, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def inputs(pipe):
    """Two samples, a timestep, their prompts and the empty prompt."""
    text = Conditioning(torch.cat([encode_prompt(pipe, prompt) for prompt in PROMPTS[:2]]))
    uncond = Conditioning(encode_prompt(pipe, "").expand(2, -1, -1))
    return noise(2), torch.tensor(500), text, uncond


@torch.no_grad()
def test_a_unet_as_denoise_is_called_in_its_precision_and_answers_in_float32(pipe, inputs):
    sample, timestep, text, _ = inputs
    expected = pipe.unet(sample, timestep, text.prompt_embeds).sample
    assert torch.equal(unet_denoise(pipe.unet)(sample, timestep, text), expected)
    half = copy.deepcopy(pipe.unet).to(torch.bfloat16)
    noise_pred = unet_denoise(half)(sample, timestep, text)
    assert noise_pred.dtype == torch.float32
    torch.testing.assert_close(noise_pred, expected, atol=0.1, rtol=0.1)


@torch.no_grad()
def test_a_compiled_unet_gets_one_memory_layout(pipe, inputs):
    sample, timestep, text, _ = inputs
    calls = []

    def call(sample, *arguments, **options):
        calls.append(sample.is_contiguous())
        return pipe.unet(sample, *arguments, **options)

    unet_denoise(pipe.unet, call)(sample.to(memory_format=torch.channels_last), timestep, text)
    assert calls == [True]


def test_gradients_flow_through_a_denoiser(pipe, inputs):
    sample, timestep, text, _ = inputs
    embeds = text.prompt_embeds.clone().requires_grad_()
    unet_denoise(pipe.unet)(sample, timestep, Conditioning(embeds)).sum().backward()
    assert embeds.grad.abs().sum() > 0


def test_guidance_of_scale_1_is_the_denoiser_itself(pipe, inputs):
    denoise = unet_denoise(pipe.unet)
    assert guided(denoise, inputs[3], 1.0) is denoise


@torch.no_grad()
@pytest.mark.parametrize("one_call", [True, False])
def test_guidance_moves_from_the_unconditional_prediction_through_the_conditional_one(pipe, inputs, one_call):
    sample, timestep, text, uncond = inputs
    denoise = unet_denoise(pipe.unet)
    text_pred, uncond_pred = denoise(sample, timestep, text), denoise(sample, timestep, uncond)
    found = guided(denoise, uncond, 3.0, one_call=one_call)(sample, timestep, text)
    torch.testing.assert_close(found, uncond_pred + 3 * (text_pred - uncond_pred), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, text_pred)


@torch.no_grad()
@pytest.mark.parametrize(("timestep", "calls"), [(999, [4]), (500, [4]), (499, [2])])
def test_guidance_ends_below_its_last_timestep(pipe, inputs, timestep, calls):
    sample, _, text, uncond = inputs
    sizes = []

    def denoise(sample, timestep, conditioning):
        sizes.append(len(sample))
        return sample

    guided(denoise, uncond, 2.0, until=500.0)(sample, torch.tensor(timestep), text)
    assert sizes == calls


@pytest.mark.parametrize(
    ("device", "n", "compiled", "one_call"),
    [("cpu", 64, False, True), ("cuda", 8, False, True), ("cuda", 9, False, False), ("cpu", 2, True, False)],
)
def test_one_call_is_made_where_it_is_faster_and_no_new_shape(device, n, compiled, one_call):
    unet = torch.nn.Linear(1, 1)
    if compiled:
        unet._compiled_call_impl = unet._call_impl
    assert one_call_is_faster(unet, n, torch.device(device)) == one_call


def test_a_prompts_embeddings_are_those_of_diffusers_alone_or_in_a_batch(pipe):
    expected = pipe.encode_prompt(PROMPTS[0], "cpu", 1, do_classifier_free_guidance=False)[0]
    assert torch.equal(encode_prompt(pipe, PROMPTS[0]), expected)
    batch = encode_prompts(pipe, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(batch[row : row + 1], encode_prompt(pipe, prompt))


def test_a_text_encoder_in_training_gets_gradients_but_sampling_keeps_none(pipe):
    trained = copy.copy(pipe)
    trained.text_encoder = copy.deepcopy(pipe.text_encoder).requires_grad_()
    assert encode_prompts(trained, PROMPTS).requires_grad
    assert not encode_prompt(trained, PROMPTS[0]).requires_grad
