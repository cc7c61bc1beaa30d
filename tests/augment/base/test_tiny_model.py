"""The tiny model is a small Stable Diffusion."""

import torch

from augment.base import tiny_model
from augment.base.tiny_model import TinyModelConfig, build_tiny_model, word_tokenizer
from augment.prompts import DIAGNOSES, RARE_TOKENS, instance_prompt, prompt_for


def test_it_fits_in_twenty_megabytes_at_sixteen_bit():
    pipe = build_tiny_model(TinyModelConfig())
    params = sum(p.numel() for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters())
    assert params * 2 < 20e6


def test_the_seed_decides_the_weights():
    first, again, other = (build_tiny_model(TinyModelConfig(), seed).unet.conv_in.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_samples_an_image_of_its_size():
    pipe = build_tiny_model(TinyModelConfig())
    image = pipe("dermoscopy of a melanoma", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 64, 64, 3)


def test_every_word_of_our_prompts_is_one_token():
    tokenizer = word_tokenizer(16)
    for token, label in zip(RARE_TOKENS, DIAGNOSES, strict=True):
        prompt = instance_prompt(label, token)
        assert len(tokenizer(prompt).input_ids) == len(prompt.split()) + 2  # start and end
        assert tokenizer.decode(tokenizer(prompt).input_ids, skip_special_tokens=True).split() == prompt.split()


def test_a_word_that_is_not_known_is_spelt():
    assert len(word_tokenizer(16)("xylophone").input_ids) > 4


def test_rare_tokens_are_no_words_of_a_prompt():
    assert not set(RARE_TOKENS) & {word for label in DIAGNOSES for word in prompt_for(label).split()}


def test_sizes_can_be_set_to_a_hundred_million_parameters():
    large = TinyModelConfig(
        image_size=128, vae_channels=(64, 128, 256), unet_channels=(160, 320, 480), unet_layers=2, text_width=384
    )
    tokenizer = word_tokenizer(large.prompt_tokens)
    with torch.device("meta"):  # shapes alone
        parts = (tiny_model._unet(large, 32), tiny_model._vae(large), tiny_model._text_encoder(large, tokenizer))
    params = sum(weights.numel() for part in parts for weights in part.parameters())
    assert 80e6 < params < 120e6
