import dataclasses

import numpy as np
import pytest
import torch

from augment.diffusion.sample import decode as decoded
from augment.diffusion.sample import encode, sample_latents
from augment.generate import batches as module
from augment.generate.batches import draw
from augment.generate.config import GenerateConfig
from data.errors import ConfigError

pytestmark = pytest.mark.numerical

PROMPT, SEEDS = "dermoscopy of a melanoma", list(range(11))
CONFIG = GenerateConfig(steps=2, batch_size=8, decode_batch=8)


@pytest.fixture
def plain(pipe):
    latents = sample_latents(pipe, encode(pipe, PROMPT), encode(pipe, ""), SEEDS, CONFIG.sampling())
    return decoded(pipe, latents).astype(int)


@pytest.fixture
def small(monkeypatch):
    """A device that holds only so many images at a time, in denoising and in decoding."""
    tried = {"denoised": [], "decoded": []}

    def limit(kind, real, most):
        def checked(pipe, images, *given):
            tried[kind].append(len(images))
            if len(images) > most:
                raise torch.OutOfMemoryError(f"{len(images)} images")
            return real(pipe, images, *given)

        return checked

    def fit(denoised=99, decode=99):
        real = module.sampler._denoise

        def denoise(pipe, conditional, *given):
            return limit("denoised", real, denoised)(pipe, conditional, *given)

        monkeypatch.setattr(module.sampler, "_denoise", denoise)
        monkeypatch.setattr(module.sampler, "_decoded", limit("decoded", module.sampler._decoded, decode))
        return tried

    return fit


def test_batches_that_do_not_fit_are_halved_and_the_images_stay_the_same(pipe, plain, small, caplog):
    tried = small(denoised=3)
    batches = list(draw(pipe, PROMPT, SEEDS, CONFIG, 32))
    assert tried["denoised"] == [8, 4, 2, 2, 2, 2, 2, 2]
    assert [len(batch) for batch in batches] == [2, 2, 2, 2, 2, 1]
    assert np.abs(np.concatenate(batches) - plain).max() <= 1
    assert "8 images at a time do not fit the device's memory; going on with 4" in caplog.text


def test_decoding_alone_is_done_in_smaller_parts_where_it_does_not_fit(pipe, plain, small):
    tried = small(decode=2)
    batches = list(draw(pipe, PROMPT, SEEDS, CONFIG, 32))
    assert tried["denoised"] == [8, 8]
    assert tried["decoded"] == [8, 4, 2, 2, 2, 2, 2, 1]  # the size that fits is kept
    assert np.abs(np.concatenate(batches) - plain).max() <= 1


def test_where_not_even_one_image_fits_it_is_said(pipe, small):
    small(denoised=0)
    with pytest.raises(ConfigError, match="not even one image of 32 pixels fits the device's memory"):
        list(draw(pipe, PROMPT, SEEDS, CONFIG, 32))


def test_prompts_stay_with_their_seeds_when_batches_are_halved(pipe, small):
    prompts = [PROMPT, "drawing", "hair"] * 4
    whole = np.concatenate(list(draw(pipe, prompts[:11], SEEDS, CONFIG, 32))).astype(int)
    small(denoised=4)
    halved = np.concatenate(list(draw(pipe, prompts[:11], SEEDS, CONFIG, 32)))
    assert np.abs(halved - whole).max() <= 1


def test_other_failures_are_not_taken_for_a_lack_of_memory(pipe, monkeypatch):
    monkeypatch.setattr(module.sampler, "_decoded", lambda *_given: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        next(draw(pipe, PROMPT, SEEDS, dataclasses.replace(CONFIG, steps=1), 32))
