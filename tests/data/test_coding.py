"""Images are coded alike wherever it is done, also by a classifier that was copied to another machine."""

from io import BytesIO

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from data import coding
from data.coding import Coder, reconstruct
from data.errors import InputError

pytestmark = pytest.mark.numerical

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(**blocks, block_out_channels=(8, 8), norm_num_groups=4, sample_size=16).eval()


def far(first, second):
    return int(np.abs(first.astype(int) - second).max())


def test_an_image_is_decoded_from_the_mean_of_its_posterior_in_whole_levels(vae):
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    expected = ((expected + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    found = reconstruct(vae, IMAGES)
    assert found.dtype == np.uint8
    assert far(found, expected) <= 1
    assert far(found, IMAGES) > 20
    assert len(reconstruct(vae, IMAGES[:0])) == 0


def test_where_memory_is_short_fewer_images_are_coded_at_a_time(vae, monkeypatch):
    whole, taken = reconstruct(vae, IMAGES), []
    work = coding._reconstructed

    def on_a_small_device(vae, images):
        taken.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return work(vae, images)

    monkeypatch.setattr(coding, "_reconstructed", on_a_small_device)
    assert far(reconstruct(vae, IMAGES), whole) <= 1
    assert taken[0] > 2 >= taken[-1]


def test_a_coder_passes_images_through_a_file_of_the_format_of_synthetic_images(vae):
    plain, through = Coder(vae, None)(IMAGES), Coder(vae, 60)(IMAGES)
    assert (plain == reconstruct(vae, IMAGES)).all()
    for image, coded in zip(plain, through, strict=True):
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=60, subsampling=0)
        assert (np.asarray(Image.open(file)) == coded).all()
    assert far(plain, through) > 0


@pytest.mark.parametrize("quality", [None, 60])
def test_a_coder_is_kept_with_a_classifier_and_codes_alike_when_it_is_loaded(vae, tmp_path, quality):
    Coder(vae, quality).save(tmp_path)
    assert (Coder.load(tmp_path)(IMAGES) == Coder(vae, quality)(IMAGES)).all()


def test_a_classifier_without_one_has_none_and_a_torn_one_is_refused(vae, tmp_path):
    assert Coder.load(tmp_path) is None
    Coder(vae, 60).save(tmp_path)
    (tmp_path / "autoencoder" / "coding.json").unlink()
    with pytest.raises(InputError, match=r"autoencoder: is no autoencoder that can be loaded; copy the folder anew"):
        Coder.load(tmp_path)
