"""Logits averaged over the eight rotations and flips of an image: lesions have no up or down, a mean is steadier."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from classify.model import in_batches

VIEWS = 8


def view_logits(
    network: nn.Module, pixels: UInt8[np.ndarray, "n size size 3"], views: int, batch_size: int | None = None
) -> Float[Tensor, "n k"]:
    """Mean logits over the first `views` of the eight views of each image; one view is the image as it is."""
    if not 1 <= views <= VIEWS:
        raise ValueError(f"{views} views of an image, but there are {VIEWS}")

    def mean(images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n k"]:
        outputs: Tensor = network(images)
        for number in range(1, views):
            outputs = outputs + network(view(images, number))
        return outputs / views

    return in_batches(network, mean, pixels, batch_size)


def view(images: Float[Tensor, "n 3 size size"], number: int) -> Float[Tensor, "n 3 size size"]:
    """One of the eight views, 0 to 7: so many quarter turns, from 4 on of the mirrored image; 0 is the image itself."""
    mirrored = images.flip(-1) if number >= VIEWS // 2 else images
    return mirrored.rot90(number % (VIEWS // 2), (-2, -1))
