import numpy as np
import pytest
import torch

import classify.augmented_batches
from classify.augmented_batches import CpuAugment, GpuAugment, augmented_batches
from classify.model import build, normalise
from data.train_views import train_augmentation

pytestmark = pytest.mark.numerical

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
ROWS = np.array([4, 0, 4])


@pytest.fixture(scope="module")
def network():
    return build("none", 3, architecture="test_efficientnet")


def test_on_a_cpu_batches_are_albumentations_unless_asked_otherwise(network):
    for place, kind in (("auto", CpuAugment), ("cpu", CpuAugment), ("device", GpuAugment)):
        assert type(augmented_batches(PIXELS, network, place, compiled=False)) is kind


def test_randaugment_is_made_by_albumentations_wherever_the_network_is(network):
    for place in ("auto", "cpu", "device"):
        batches = augmented_batches(PIXELS, network, place, "randaugment", compiled=False)
        assert type(batches) is CpuAugment
        augment = train_augmentation(32, 5, "randaugment")
        expected = normalise(np.stack([augment(PIXELS[row]) for row in ROWS]), network)
        assert torch.equal(batches.seeded(5)(ROWS), expected)


def test_a_batch_on_the_cpu_is_the_augmentation_of_each_row_normalised(network):
    augment = train_augmentation(32, 5)
    expected = normalise(np.stack([augment(PIXELS[row]) for row in ROWS]), network)
    assert torch.equal(CpuAugment(PIXELS, network).seeded(5)(ROWS), expected)


def test_batches_on_the_device_are_normalised_and_channels_last(network, monkeypatch):
    monkeypatch.setattr(
        classify.augmented_batches.augmentation,
        "augment",
        lambda images, parameters: images.permute(0, 3, 1, 2).float(),
    )
    found = GpuAugment(PIXELS, network).seeded(5)(ROWS)
    torch.testing.assert_close(found, normalise(PIXELS[ROWS], network), rtol=1e-5, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_images_that_do_not_fit_are_brought_batch_by_batch(network, monkeypatch):
    held = GpuAugment(PIXELS, network).seeded(5)(ROWS)
    monkeypatch.setattr(
        classify.augmented_batches, "free_bytes", lambda device: PIXELS.nbytes
    )  # half of that may be taken
    assert not classify.augmented_batches._fits(torch.from_numpy(PIXELS), torch.device("cpu"))
    assert torch.equal(GpuAugment(PIXELS, network).seeded(5)(ROWS), held)


def test_a_seed_is_a_stream_of_batches(network):
    batches = GpuAugment(PIXELS, network)
    first, again = batches.seeded(5), batches.seeded(5)
    series = [(first(ROWS), again(ROWS)) for _ in range(3)]
    assert all(torch.equal(one, other) for one, other in series)
    assert not torch.equal(series[0][0], series[1][0])
    assert not torch.equal(series[0][0], batches.seeded(6)(ROWS))


@pytest.mark.slow
def test_compiled_batches_are_those_of_the_plain_operations(network, monkeypatch):
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda work: compiler(work, backend="aot_eager", fullgraph=True))
    plain, compiled = (GpuAugment(PIXELS, network, compiled=how).seeded(5)(ROWS) for how in (False, True))
    torch.testing.assert_close(compiled, plain, rtol=0, atol=0.02)
