import copy

import numpy as np
import pytest
import torch

from augment import device
from augment.diffusion import decode as module
from augment.diffusion.decode import decode, decode_with_backoff
from augment.methods.weights import with_parts
from data.errors import BaseError, ConfigError

pytestmark = pytest.mark.numerical


def latents(n):
    return 3 * torch.randn(n, 8, 4, 4, generator=torch.Generator().manual_seed(0))


def test_pixels_are_the_vaes_images_in_bytes(pipe):
    with torch.no_grad():
        image = pipe.vae.decode(latents(2) / pipe.vae.config.scaling_factor).sample
    expected = (image / 2 + 0.5).clamp(0, 1).mul(255).permute(0, 2, 3, 1).numpy()
    assert np.abs(decode(pipe, latents(2)) - np.round(expected)).max() <= 1


def test_where_a_chunk_does_not_fit_smaller_ones_make_the_same_pixels(pipe, monkeypatch):
    tried, real = [], module._decode_finite

    def limited(pipe, latents):
        tried.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError
        return real(pipe, latents)

    expected = decode(pipe, latents(5)).astype(int)
    monkeypatch.setattr(module, "_decode_finite", limited)
    pixels, chunk = decode_with_backoff(pipe, latents(5), 8)
    assert (tried, chunk) == ([5, 2, 2, 1], 2)
    assert np.abs(pixels - expected).max() <= 1


def test_latents_that_are_not_finite_are_refused(pipe):
    not_finite = torch.full((1, 8, 4, 4), torch.nan)
    with pytest.raises(BaseError, match=r"^latents that are not finite, in float32 .* lower finetune\.learning_rate"):
        decode(pipe, not_finite)
    half = with_parts(pipe, unet=copy.deepcopy(pipe.unet).to(torch.float16))
    with pytest.raises(ConfigError, match=r"^latents that are not finite.*float16; set generate\.precision: float32$"):
        decode(half, not_finite)


@pytest.fixture
def overflowing(pipe, monkeypatch):
    """A base in 16 bits whose decoder overflows in the second image; and the calls of its decoder."""
    half = device.to_device(copy.deepcopy(pipe), torch.device("cpu"), torch.float16)
    real, calls = half.vae.decode, []

    def overflow(latents, return_dict):
        calls.append((len(latents), latents.dtype))
        image = real(latents, return_dict=return_dict)[0].clone()
        if latents.dtype == torch.float16:
            image[1:2, 0, 0, 0] = torch.inf
        return (image,)

    monkeypatch.setattr(half.vae, "decode", overflow)
    return half, calls


def test_an_image_that_is_not_finite_in_sixteen_bits_is_decoded_in_thirty_two(pipe, overflowing, caplog):
    half, calls = overflowing
    found, expected = decode(half, latents(3)), decode(pipe, latents(3))
    assert np.abs(found.astype(int) - expected).max() <= 2
    rounded = device.cast(device.cast(copy.deepcopy(pipe.vae), torch.float16), torch.float32)
    widened = with_parts(pipe, vae=rounded)
    # Both decode one image in 32 bits, but the first in the memory layout of the device.
    assert np.abs(found[1].astype(int) - decode(widened, latents(3)[1:2])[0]).max() <= 1
    assert calls == [(3, torch.float16), (1, torch.float32)]
    assert half.vae.dtype == torch.float16
    assert "1 images are not finite, decoded in torch.float16; decoding them in float32" in caplog.text


def test_pixels_that_are_not_finite_in_float32_are_refused(pipe, overflowing, monkeypatch):
    half, _ = overflowing

    def not_finite(latents, return_dict):
        return (torch.full((len(latents), 3, 32, 32), torch.nan),)

    monkeypatch.setattr(half.vae, "decode", not_finite)
    with pytest.raises(ConfigError, match=r"^pixels that are not finite.* set generate\.precision: float32$"):
        decode(half, torch.zeros(2, 8, 4, 4))
    assert half.vae.dtype == torch.float16
    monkeypatch.setattr(pipe.vae, "decode", not_finite)
    with pytest.raises(BaseError, match=r"^pixels that are not finite, in float32 .*fine-tune again"):
        decode(pipe, torch.zeros(2, 8, 4, 4))
