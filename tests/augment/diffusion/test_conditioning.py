import copy

import pytest
import torch

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.conditioning import (
    Conditioning,
    encode_prompt,
    encode_prompts,
    guided,
    one_call_is_faster,
    unet_denoise,
)
from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from data.errors import ConfigError

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
    assert torch.equal(batch, pipe.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)[0])
    for row, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(batch[row : row + 1], encode_prompt(pipe, prompt))


def test_a_text_encoder_in_training_gets_gradients_but_sampling_keeps_none(pipe):
    trained = copy.copy(pipe)
    trained.text_encoder = copy.deepcopy(pipe.text_encoder).requires_grad_()
    assert encode_prompts(trained, PROMPTS).requires_grad
    assert not encode_prompt(trained, PROMPTS[0]).requires_grad


@pytest.mark.parametrize("prompt", [*PROMPTS, "dermoscopy of a (melanoma:1)", r"dermoscopy of a melanoma, \\"])
@pytest.mark.parametrize("emphasis", ["plain", "webui-mean", "off"])
def test_a_prompt_without_weights_has_diffusers_embeddings_bit_for_bit(pipe, prompt, emphasis):
    bare = prompt.replace("(melanoma:1)", "melanoma").replace(r"\\", "\\")
    expected = pipe.encode_prompt(bare, "cpu", 1, do_classifier_free_guidance=False)[0]
    if emphasis != "off" or "(" not in prompt:
        assert torch.equal(encode_prompt(pipe, prompt, emphasis), expected)


def test_a_weight_multiplies_the_embeddings_of_its_tokens_alone(pipe):
    plain, weighted = (
        encode_prompt(pipe, "dermoscopy of a melanoma"),
        encode_prompt(pipe, "dermoscopy (of a:2) melanoma"),
    )
    rows = torch.tensor([2, 3])  # after the start and "dermoscopy"
    assert torch.equal(weighted[0, rows], 2 * plain[0, rows])
    others = [row for row in range(16) if row not in rows]
    assert torch.equal(weighted[0, others], plain[0, others])
    assert torch.equal(encode_prompt(pipe, "dermoscopy ((of a:4):0.5) melanoma"), weighted)


def test_brackets_are_text_where_emphasis_is_off(pipe):
    expected = pipe.encode_prompt("a (melanoma)", "cpu", 1, do_classifier_free_guidance=False)[0]
    assert torch.equal(encode_prompt(pipe, "a (melanoma)", "off"), expected)
    assert torch.equal(encode_prompt(pipe, r"a \(melanoma\)"), expected)
    assert not torch.equal(encode_prompt(pipe, "a (melanoma)"), expected)


def test_the_webuis_mean_is_that_of_the_prompt_without_weights(pipe):
    plain, weighted = (encode_prompt(pipe, f"dermoscopy of a {word}") for word in ("melanoma", "(melanoma:1.5)"))
    rescaled = encode_prompt(pipe, "dermoscopy of a (melanoma:1.5)", "webui-mean")
    torch.testing.assert_close(rescaled, weighted * (plain.mean() / weighted.mean()))
    torch.testing.assert_close(rescaled.mean(), plain.mean())


def test_a_mean_that_cannot_be_restored_is_refused(pipe):
    encoder = torch.nn.Module()
    encoder.forward = lambda ids: (torch.tensor([1.0, -1.0]).expand(*ids.shape, 2),)
    encoder.device, encoder.dtype = torch.device("cpu"), torch.float32
    encoder.get_input_embeddings = pipe.text_encoder.get_input_embeddings
    flat = copy.copy(pipe)
    flat.text_encoder = encoder
    with pytest.raises(ConfigError, match=r"emphasis: webui-mean multiplies .* set it to plain"):
        encode_prompt(flat, "a (melanoma:2)", "webui-mean")


def test_a_long_prompt_has_the_embeddings_of_its_chunks_one_after_the_other(pipe):
    first, second = "skin " * 14, "back " * 3
    parts = [encode_prompt(pipe, text) for text in (first, second, "")]
    torch.testing.assert_close(encode_prompt(pipe, first + second), torch.cat(parts[:2], dim=1))
    torch.testing.assert_close(encode_prompt(pipe, f"{first} BREAK {second}"), torch.cat(parts[:2], dim=1))
    torch.testing.assert_close(encode_prompt(pipe, first + second, n_chunks=3), torch.cat(parts, dim=1))


def test_prompts_to_train_on_are_padded_to_the_longest_and_their_weights_left_out(pipe):
    batch = encode_prompts(pipe, ["a (melanoma:3)", "skin " * 20])
    assert batch.shape[:2] == (2, 32)
    torch.testing.assert_close(batch[:1], encode_prompt(pipe, "a melanoma", n_chunks=2))
    torch.testing.assert_close(batch[1:], encode_prompt(pipe, "skin " * 20))


def test_the_projection_on_the_classs_direction_rises_with_its_weight():
    pipe = load_base(BaseConfig())
    plain, other = encode_prompt(pipe, "dermoscopy of a melanoma"), encode_prompt(pipe, "dermoscopy of a skin lesion")
    direction = plain - other

    def projection(weight):
        embeds = encode_prompt(pipe, f"dermoscopy of a (melanoma:{weight})")
        return float(((embeds - other) * direction).sum() / direction.square().sum())

    found = [projection(weight) for weight in (0.25, 1, 1.5, 2, 3)]
    assert found == sorted(found)
    assert found[1] == pytest.approx(1)
    assert found[-1] > 1.1


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_guidance_takes_a_long_prompt_beside_a_short_negative_one(pipe, guidance_scale):
    prompts = torch.cat([encode_prompt(pipe, prompt, n_chunks=2) for prompt in ("a melanoma", "skin " * 20)])
    negative = encode_prompt(pipe, "hair", n_chunks=2)
    images = PromptedSeeds(prompt_embeds=prompts, negative_embeds=negative, seeds=[0, 1], prompt_index=[0, 1])
    config = SamplerConfig(steps=1, batch_size=2, guidance_scale=guidance_scale)
    assert torch.isfinite(sample_batch(pipe, images, config)).all()
