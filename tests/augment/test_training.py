import pytest
import torch

from augment.lesson import Lesson
from augment.training import FinetuneConfig, Training


@pytest.fixture
def lesson():
    """Images that are one flat colour: a class that a few steps can begin to learn."""
    colour = 2 * torch.randn(8, 1, 1, generator=torch.Generator().manual_seed(0))
    means = colour.expand(3, 8, 8, 4, 4)
    return Lesson("df", 1, ("a df", "a lesion", ""), means, torch.zeros_like(means), torch.empty(0, 8, 4, 4))


@pytest.mark.parametrize(("method", "rate", "share"), [("lora", 1e-2, 0.9), ("dreambooth", 3e-3, 0.5)])
def test_training_lowers_the_loss(pipe, lesson, tmp_path, method, rate, share):
    options = {"steps": 25, "batch_size": 8, "rank": 4, "warmup": 1, "preview_every": 0}
    training = Training(pipe, lesson, FinetuneConfig(method=method, learning_rate=rate, **options), tmp_path, "k")
    training.run()
    assert training.losses[-1] < share * training.losses[0]


def test_samples_weigh_what_min_snr_says(pipe, lesson, tmp_path):
    """A gamma above every signal-to-noise ratio weighs v-prediction's error by snr / (snr + 1), which is below 1."""
    plain, weighted = (
        Training(pipe, lesson, FinetuneConfig(steps=1, min_snr_gamma=gamma, preview_every=0), tmp_path, "k")
        for gamma in (None, 1e6)
    )
    plain.run()
    weighted.run()
    assert 0 < weighted.losses[0] < plain.losses[0]


def test_the_learning_rate_follows_the_method():
    assert FinetuneConfig().rate == 1e-4
    assert FinetuneConfig(method="dreambooth").rate == 5e-6
    assert FinetuneConfig(learning_rate=3e-4).rate == 3e-4
