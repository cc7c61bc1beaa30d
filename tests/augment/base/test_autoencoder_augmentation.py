"""Augmentations of the autoencoder's training images."""

import pytest
import torch

from augment.base.autoencoder_augmentation import color_jitter, dead_leaves, random_flip_and_turn

pytestmark = pytest.mark.numerical


def test_color_jitter_keeps_grey_and_changes_other_colours():
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((4, 3, 2, 2), 0.25)
    torch.testing.assert_close(color_jitter(grey, 1.0, generator), grey)
    brown = torch.tensor([0.2, -0.2, -0.5])[None, :, None, None].expand(64, 3, 2, 2)
    bluest = color_jitter(brown, 1.0, generator)[:, 2, 0, 0].max()
    assert bluest > 0.2


def test_discs_are_laid_over_a_share_of_the_images():
    grey = torch.zeros((64, 3, 32, 32))
    covered = dead_leaves(grey, 0.5, torch.Generator().manual_seed(0))
    changed = covered.abs().amax((1, 2, 3)) > 0.1
    assert 10 < int(changed.sum()) < 40
    assert covered.abs().max() <= 1
    assert torch.equal(dead_leaves(grey, 0.0, torch.Generator().manual_seed(0)), grey)


def test_the_batch_is_flipped_and_turned_as_one():
    image = torch.arange(12.0).reshape(1, 3, 2, 2)
    symmetries = [torch.rot90(each, turn, (2, 3)) for each in (image, image.flip(3)) for turn in range(4)]
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(64):
        first, second = random_flip_and_turn(image.repeat(2, 1, 1, 1), generator)
        assert torch.equal(first, second)
        seen.add(next(index for index, one in enumerate(symmetries) if torch.equal(one[0], first)))
    assert seen == set(range(8))
