import dataclasses

import numpy as np
import pytest
import torch

from augment.diffusion import decode as decoding
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import PromptedSeeds, sample_latents
from augment.generate import batches as module
from augment.generate.batches import generate_pixels
from augment.generate.config import GenerateConfig
from data.errors import ConfigError

pytestmark = pytest.mark.numerical

PROMPT, SEEDS = "dermoscopy of a melanoma", list(range(11))
PROMPTS = [PROMPT] * len(SEEDS)
CONFIG = GenerateConfig(steps=2, batch_size=8, vae_batch_size=8)


@pytest.fixture
def expected(pipe):
    latents = sample_latents(pipe, encode_prompt(pipe, PROMPT), encode_prompt(pipe, ""), SEEDS, CONFIG.sampling())
    return decode(pipe, latents).astype(int)


@pytest.fixture
def small(monkeypatch):
    """A device that holds only so many images at a time, in sampling and in decoding."""
    tried = {"sampled": [], "decoded": []}

    def limit(sampled=99, decoded=99):
        real_sample, real_decode = module.sample_batch, decoding._decode_finite

        def sample(pipe, images, config, *given):
            tried["sampled"].append(config.batch_size)
            if config.batch_size > sampled:
                raise torch.OutOfMemoryError
            return real_sample(pipe, images, config, *given)

        def decode_part(pipe, latents):
            tried["decoded"].append(len(latents))
            if len(latents) > decoded:
                raise torch.OutOfMemoryError
            return real_decode(pipe, latents)

        monkeypatch.setattr(module, "sample_batch", sample)
        monkeypatch.setattr(decoding, "_decode_finite", decode_part)
        return tried

    return limit


def test_batches_that_do_not_fit_are_halved_and_the_images_stay_the_same(pipe, expected, small, caplog):
    tried = small(sampled=3)
    batches = list(generate_pixels(pipe, PROMPTS, SEEDS, CONFIG, 32))
    assert tried["sampled"] == [8, 4, 2, 2, 2, 2, 2, 2]
    assert [len(batch) for batch in batches] == [2, 2, 2, 2, 2, 1]
    assert np.abs(np.concatenate(batches) - expected).max() <= 1
    assert "8 images at a time do not fit the device's memory; going on with 4" in caplog.text


def test_decoding_alone_is_done_in_smaller_parts_where_it_does_not_fit(pipe, expected, small):
    tried = small(decoded=2)
    batches = list(generate_pixels(pipe, PROMPTS, SEEDS, CONFIG, 32))
    assert tried["sampled"] == [8, 8]
    assert tried["decoded"] == [8, 4, 2, 2, 2, 2, 2, 1]  # the size that fits is kept
    assert np.abs(np.concatenate(batches) - expected).max() <= 1


def test_where_not_even_one_image_fits_the_message_says_so(pipe, small):
    small(sampled=0)
    with pytest.raises(ConfigError, match="not even one image of 32 pixels fits the device's memory"):
        list(generate_pixels(pipe, PROMPTS, SEEDS, CONFIG, 32))


def test_prompts_stay_with_their_seeds_when_batches_are_halved(pipe, small):
    prompts = ([PROMPT, "drawing", "hair"] * 4)[: len(SEEDS)]
    whole = np.concatenate(list(generate_pixels(pipe, prompts, SEEDS, CONFIG, 32))).astype(int)
    small(sampled=4)
    halved = np.concatenate(list(generate_pixels(pipe, prompts, SEEDS, CONFIG, 32)))
    assert np.abs(halved - whole).max() <= 1


def test_each_distinct_prompt_is_encoded_once(pipe, monkeypatch):
    encoded = []

    def encode(pipe, prompt, *given):
        encoded.append(prompt)
        return encode_prompt(pipe, prompt, *given)

    monkeypatch.setattr(module, "encode_prompt", encode)
    next(generate_pixels(pipe, [PROMPT, "drawing", PROMPT, "drawing"], SEEDS[:4], CONFIG, 32))
    assert encoded == [PROMPT, "drawing", ""]


def test_an_image_is_the_same_beside_a_long_prompt_and_alone(pipe):
    config, both = dataclasses.replace(CONFIG, batch_size=2, negative_prompt="hair"), [PROMPT, "skin " * 30]
    beside = next(generate_pixels(pipe, both, SEEDS[:2], config, 32)).astype(int)
    alone = next(generate_pixels(pipe, both[:1], SEEDS[:1], config, 32, all_prompts=both)).astype(int)
    assert np.abs(beside[0] - alone[0]).max() <= 1
    shorter = next(generate_pixels(pipe, both[:1], SEEDS[:1], config, 32)).astype(int)
    assert np.abs(beside[0] - shorter[0]).max() > 1


def test_emphasis_is_that_of_the_config(pipe):
    def drawn(prompt, emphasis="plain"):
        config = dataclasses.replace(CONFIG, batch_size=1, emphasis=emphasis)
        return next(generate_pixels(pipe, [prompt], SEEDS[:1], config, 32)).astype(int)

    plain, weighted = drawn(PROMPT), drawn("dermoscopy of a (melanoma:3)")
    assert np.abs(plain - drawn("dermoscopy of a (melanoma:1)")).max() == 0
    assert np.abs(plain - weighted).max() > 0
    assert np.abs(drawn("dermoscopy of a (melanoma:3)", "off") - weighted).max() > 0


def test_other_failures_are_not_taken_for_a_lack_of_memory(pipe, monkeypatch):
    monkeypatch.setattr(decoding, "_decode_finite", lambda *_given: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        next(generate_pixels(pipe, PROMPTS, SEEDS, dataclasses.replace(CONFIG, steps=1), 32))


def test_images_are_of_the_sampler_that_the_config_names(pipe):
    config = GenerateConfig(steps=2, batch_size=2, sampler="Euler a")
    sample = {"prompt_embeds": encode_prompt(pipe, PROMPT), "negative_embeds": encode_prompt(pipe, ""), "seeds": [3, 4]}
    latents = module.sample_batch(pipe, PromptedSeeds(**sample), config.sampling(), 32, "euler-a")
    (found,) = generate_pixels(pipe, PROMPTS[:2], [3, 4], config, 32)
    assert np.array_equal(found, decode(pipe, latents))
    (plain,) = generate_pixels(pipe, PROMPTS[:2], [3, 4], dataclasses.replace(config, sampler=None), 32)
    assert not np.array_equal(found, plain)
