import numpy as np
import pytest
import torch

from classify.mixup import CHANCE, mix


def batch(n=6, size=16):
    """Images of which each pixel is the number of its image."""
    return torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 3, size, size).clone()


def mixes(mixup, cutmix, n=400, images=None):
    rng = np.random.default_rng(0)
    images = batch() if images is None else images
    return [mix(images, mixup, cutmix, rng) for _ in range(n)]


def test_nothing_is_mixed_where_both_are_off_and_no_number_is_drawn():
    rng = np.random.default_rng(3)
    images = batch()
    mixed = mix(images, 0.0, 0.0, rng)
    assert mixed.images is images
    assert mixed.share == 1
    assert rng.random() == np.random.default_rng(3).random()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_the_mean_of_a_mixed_batch_is_that_of_its_images_weighed_by_their_share(mixup, cutmix):
    images = batch()
    expected = images.mean(dim=(1, 2, 3))
    for mixed in mixes(mixup, cutmix):
        share = mixed.share * expected + (1 - mixed.share) * expected.flip(0)
        torch.testing.assert_close(mixed.images.mean(dim=(1, 2, 3)), share, rtol=1e-4, atol=1e-4)


def test_mixup_blends_whole_images_and_cutmix_pastes_a_box():
    for mixed in mixes(1.0, 0.0, 50):
        assert (mixed.images == mixed.images[:, :, :1, :1]).all()  # one value an image
    values = {float(value) for mixed in mixes(0.0, 1.0, 50) for value in mixed.images[0].unique()}
    assert values == {0.0, 5.0}  # of the first image and the last
    assert any(0 < mixed.share < 1 for mixed in mixes(0.0, 1.0, 50))


def test_half_of_the_batches_are_mixed_and_both_ways_are_as_frequent():
    mixed = [each for each in mixes(1.0, 1.0, 1000) if each.share < 1]
    assert len(mixed) / 1000 == pytest.approx(CHANCE, abs=0.06)
    blended = [each for each in mixed if len(each.images[0].unique()) == 1 and float(each.images[0, 0, 0, 0]) > 0]
    assert len(blended) / len(mixed) == pytest.approx(0.5, abs=0.08)


def test_the_batch_that_is_given_is_not_written_to():
    images = batch()
    mixes(1.0, 1.0, 50, images)
    assert torch.equal(images, batch())


def test_the_generator_decides_all():
    first, second = (mixes(0.2, 1.0, 30) for _ in range(2))
    assert [each.share for each in first] == [each.share for each in second]
    assert all(torch.equal(one.images, other.images) for one, other in zip(first, second, strict=True))
