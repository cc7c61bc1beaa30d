import numpy as np
import pytest
import torch

from classify.model import build, logits
from classify.views import VIEWS, view, view_logits


@pytest.fixture(scope="module")
def network():
    return build("none", 3, architecture="test_efficientnet", seed=0).eval()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_the_eight_views_are_the_eight_symmetries_of_a_square_and_the_first_is_the_image():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    views = [view(image, number) for number in range(VIEWS)]
    assert torch.equal(views[0], image)
    assert len({tuple(each.flatten().tolist()) for each in views}) == 8
    corners = {tuple(each[0, 0, row, column].item() for row in (0, 2) for column in (0, 2)) for each in views}
    assert len(corners) == 8
    assert all(each[0, 0, 1, 1] == image[0, 0, 1, 1] for each in views)


def test_one_view_gives_the_logits_of_the_image_as_it_is(network, pixels):
    assert torch.equal(view_logits(network, pixels, 1), logits(network, pixels))


@pytest.mark.numerical
def test_eight_views_give_the_mean_of_the_logits_of_each(network, pixels):
    turned = [np.rot90(pixels[:, :, ::-1] if number > 3 else pixels, number % 4, (1, 2)) for number in range(8)]
    mean = torch.stack([logits(network, np.ascontiguousarray(each)) for each in turned]).mean(dim=0)
    torch.testing.assert_close(view_logits(network, pixels, 8), mean, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mean, logits(network, pixels), atol=1e-3)


@pytest.mark.numerical
def test_eight_views_give_an_image_the_same_logits_however_it_is_turned(network, pixels):
    turned = np.ascontiguousarray(np.rot90(pixels, 1, (1, 2)))
    torch.testing.assert_close(view_logits(network, turned, 8), view_logits(network, pixels, 8), atol=1e-5, rtol=1e-4)


def test_more_views_than_there_are_is_refused(network, pixels):
    with pytest.raises(ValueError, match="9 views of an image, but there are 8"):
        view_logits(network, pixels, 9)
