import numpy as np
import pytest
import torch
from PIL import Image

from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.sample import PromptedSeeds, SamplerConfig
from augment.finetune import preview as module
from augment.finetune.preview import preview_bytes, preview_latents, preview_seeds, write_strip
from augment.generate.mark import SYNTHETIC, origin_of, stamped

COLOURS = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)


@pytest.mark.parametrize(("size", "edge"), [(512, 128), (64, 64)])
def test_images_stand_side_by_side_in_order_made_small_but_never_larger(tmp_path, size, edge):
    images = np.broadcast_to(COLOURS[:, None, None], (3, size, size, 3))
    write_strip(np.ascontiguousarray(images), tmp_path / "previews" / "step-000100.jpg")
    with Image.open(tmp_path / "previews" / "step-000100.jpg") as strip:
        assert (strip.format, strip.size) == ("JPEG", (3 * edge, edge))
        pixels = np.asarray(strip).astype(int)
    np.testing.assert_allclose(pixels[edge // 2, edge // 2 :: edge], COLOURS, atol=6)


def test_every_picture_of_a_strip_bears_the_mark_and_the_file_says_synthetic(tmp_path):
    grey = np.full((2, 64, 64, 3), 180, np.uint8)
    write_strip(grey, tmp_path / "strip.jpg")
    with Image.open(tmp_path / "strip.jpg") as strip:
        assert origin_of(strip) == SYNTHETIC
        pixels = np.asarray(strip).astype(int)
    for tile in (pixels[:, :64], pixels[:, 64:]):
        assert np.abs(tile - stamped(grey[0])).mean() < 4
        assert (tile[-10:, :40] < 60).mean() > 0.3


def test_a_preview_has_the_same_seeds_however_many_fit(pipe, monkeypatch):
    prompt_embeds, negative_embeds = (encode_prompt(pipe, prompt) for prompt in ("dermoscopy", ""))
    images = PromptedSeeds(prompt_embeds=prompt_embeds, negative_embeds=negative_embeds, seeds=preview_seeds(3))
    arguments = (pipe, images, SamplerConfig(steps=1, batch_size=3), 32)
    whole = preview_latents(*arguments)
    assert whole.shape == (3, 8, 4, 4)
    sampled, tried = module.sample_batch, []

    def sample_batch(pipe, images, config, size):
        tried.append((len(images), config.batch_size))
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return sampled(pipe, images, config, size)

    monkeypatch.setattr(module, "sample_batch", sample_batch)
    torch.testing.assert_close(preview_latents(*arguments), whole, atol=1e-4, rtol=1e-3)
    assert tried == [(3, 3), (1, 1), (1, 1), (1, 1)]


def test_a_strip_takes_no_more_of_the_disk_than_estimated(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    write_strip(noise, tmp_path / "strip.jpg")
    assert (tmp_path / "strip.jpg").stat().st_size < preview_bytes(SamplerConfig(batch_size=3), 64)
