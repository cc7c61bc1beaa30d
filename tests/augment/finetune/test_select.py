"""The rule that chooses a step, on images whose features are drawn; what it does to a training is in test_trainer."""

import numpy as np
import pytest
import torch

from augment.diffusion.sample import PromptedSeeds
from augment.finetune import select as module
from augment.finetune.select import Selection, StepChoice, drawn_latents
from data.errors import DataError

REAL = np.random.default_rng(0).normal(size=(24, 6))
WEIGHTS = {"factors": torch.zeros(2)}


def images(shift, seed=1, n=32):
    """Stand-ins for images: the features themselves, so far from the real ones."""
    return np.random.default_rng(seed).normal(shift, 1, size=(n, 6))


def choice(real=REAL, every=10, patience=None):
    return StepChoice(real, lambda features: features, every, patience)


def measured(*sets, patience=None):
    made = choice(patience=patience)
    for number, drawn in enumerate(sets, 1):
        made.add(10 * number, drawn, {"factors": torch.full((2,), float(number))})
    return made


def test_the_nearest_step_is_kept_with_its_weights():
    made = measured(images(2.0), images(0.1), images(1.5))
    assert made.step == 20
    assert made.parameters["factors"].tolist() == [2, 2]
    assert [point.kept for point in made.points] == [True, True, False]
    assert made.points[1].kernel_distance < made.points[0].kernel_distance
    assert made.points[1].less == pytest.approx(made.points[1].kernel_distance - made.points[0].kernel_distance)


def test_a_step_that_is_better_within_the_noise_is_not_kept():
    made = measured(images(0.3, seed=1), images(0.25, seed=3))
    assert made.points[1].kernel_distance < made.points[0].kernel_distance
    assert -made.points[1].less_error < made.points[1].less < 0
    assert made.step == 10


def test_of_steps_that_noise_alone_tells_apart_the_first_is_kept_as_often_as_one_standard_error_says():
    """A later step of the same quality is better by more than one standard error in about 16 of 100 cases."""
    kept = [measured(images(0.5, 2 * seed), images(0.5, 2 * seed + 1)).step for seed in range(10, 110)]
    assert 3 <= kept.count(20) <= 30


def test_small_gains_add_up_to_one_that_is_kept():
    made = measured(*(images(shift) for shift in np.linspace(2.0, 0.0, 41)))
    assert made.step > 300
    assert made.points[-1].less < made.points[-1].less_error


def test_a_class_stops_after_so_many_measurements_without_a_better_step():
    worse = [images(1.0), images(1.2), images(1.4), images(0.0)]
    assert [measured(*worse[:n], patience=2).stopped for n in (0, 1, 2, 3)] == [False, False, False, True]
    assert not measured(*worse[:2], worse[3], patience=2).stopped
    assert not measured(*worse[:3]).stopped


def test_the_adapter_is_measured_every_so_many_steps_and_after_the_last():
    made = choice(every=3)
    assert [step for step in range(1, 9) if made.is_due(step, last=8)] == [3, 6, 8]


def test_what_is_measured_goes_on_from_a_checkpoint(tmp_path):
    whole, parts, resumed = (measured(images(1.0), images(0.5)), measured(images(1.0)), choice())
    torch.save(parts.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (resumed.step, resumed.points) == (10, parts.points)
    resumed.add(20, images(0.5), WEIGHTS)
    assert resumed.points == whole.points
    resumed.load_state_dict(choice().state_dict())
    assert (resumed.step, resumed.points, resumed.parameters) == (None, [], {})


def test_kept_weights_are_copies():
    made, weights = choice(), {"factors": torch.ones(2)}
    made.add(10, images(1.0), weights)
    weights["factors"].zero_()
    assert made.parameters["factors"].tolist() == [1, 1]


def test_the_table_has_a_row_a_measurement():
    header, *rows = measured(images(2.0), images(0.1), images(1.5)).table().splitlines()
    assert header == "step,kernel_distance,standard_error,less,less_error,kept"
    assert [row.split(",")[0] for row in rows] == ["10", "20", "30"]
    assert [row.split(",")[-1] for row in rows] == ["1", "1", "0"]


def selection(held_out):
    return Selection(
        features=None, features_name="none", features_identity="", held_out=held_out, origin="other lesions"
    )


def test_an_image_that_trains_chooses_nothing(shots, held_out):
    selection(held_out).refuse_shared(shots)
    with pytest.raises(DataError, match="df: 5 leakage groups would both train the adapter and choose its step"):
        selection({"df": shots["df"]}).refuse_shared(shots)
    few = held_out["df"].where(held_out["df"].table.index < 5)
    with pytest.raises(DataError, match="df: 5 photographs are too few"):
        selection({"df": few}).refuse_shared(shots)


def test_other_photographs_or_other_features_choose_another_adapter(held_out):
    one = selection(held_out)
    assert one.key_parts("df") != one.key_parts("vasc")
    assert one.key_parts("mel") == ()


def test_images_that_do_not_fit_are_drawn_fewer_at_a_time(pipe, monkeypatch):
    embeds = torch.randn(3, 77, 32, generator=torch.Generator().manual_seed(0))
    drawn = PromptedSeeds(
        prompt_embeds=embeds[:2], negative_embeds=embeds[2:], seeds=[5, 6, 7, 8], prompt_index=[0, 1, 0, 1]
    )
    real, tried = module.sample_batch, []

    def sample_batch(pipe, part, config, size):
        tried.append((len(part), config.batch_size))
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return real(pipe, part, config, size)

    monkeypatch.setattr(module, "SAMPLER", module.SamplerConfig(steps=2, batch_size=4))
    whole = drawn_latents(pipe, drawn, 32)
    monkeypatch.setattr(module, "sample_batch", sample_batch)
    torch.testing.assert_close(drawn_latents(pipe, drawn, 32), whole, atol=1e-5, rtol=1e-4)
    assert tried == [(4, 4), (2, 2), (2, 2)]
