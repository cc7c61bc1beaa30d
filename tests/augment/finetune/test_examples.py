import dataclasses

import numpy as np
import pytest
import torch

from augment.finetune.examples import EMPTY, INSTANCE, PRIOR, Lesson, dihedral, draw, posteriors, seed_for

pytestmark = pytest.mark.numerical


def lesson(prior=0):
    means = torch.arange(5.0)[:, None, None, None, None].expand(5, 8, 8, 4, 4)
    prior_latents = torch.full((prior, 8, 4, 4), 100.0)
    return Lesson("df", seed_for(0, "df"), ("this", "any", ""), means, torch.zeros_like(means), prior_latents)


def test_the_eight_views_are_the_symmetries_of_the_square():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    views = dihedral(image)
    assert len({view.tobytes() for view in views}) == 8
    assert {np.rot90(view, axes=(1, 2)).tobytes() for view in views} == {view.tobytes() for view in views}


def test_posteriors_are_the_vaes_of_each_view(pipe):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mean, deviation = posteriors(pipe, pixels, flips=True, chunk=5)
    assert mean.shape == deviation.shape == (3, 8, 8, 4, 4)
    view = torch.from_numpy(dihedral(pixels)[6][2].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = pipe.vae.encode(view).latent_dist
    torch.testing.assert_close(mean[2, 6], expected.mean[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(deviation[2, 6], expected.std[0], atol=1e-5, rtol=1e-4)
    single, _ = posteriors(pipe, pixels, flips=False)
    torch.testing.assert_close(single[:, 0], mean[:, 0], atol=1e-5, rtol=1e-4)


def test_fewer_images_are_encoded_at_a_time_where_so_many_do_not_fit(pipe, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = posteriors(pipe, pixels, flips=True)
    real, tried = pipe.vae.encode, []

    def encode(images):
        tried.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return real(images)

    monkeypatch.setattr(pipe.vae, "encode", encode)
    found = posteriors(pipe, pixels, flips=True)
    assert tried == [8, 4] + [2] * 12
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_a_step_draws_the_same_batch_whenever_it_is_asked():
    first, again = (draw(lesson(4), 7, 6, 1000, prior_weight=0.5, dropout=0.3) for _ in range(2))
    other = draw(lesson(4), 8, 6, 1000, prior_weight=0.5, dropout=0.3)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.timesteps, again.timesteps)
    assert not torch.equal(first.noise, other.noise)


def test_every_image_is_seen_as_often_as_the_others():
    batch = draw(lesson(), 0, 10, 1000, prior_weight=1.0, dropout=0.0)
    assert sorted(batch.clean[:, 0, 0, 0].tolist()) == sorted([0.0, 1, 2, 3, 4] * 2)
    few = draw(lesson(), 0, 3, 1000, prior_weight=1.0, dropout=0.0)
    assert len(set(few.clean[:, 0, 0, 0].tolist())) == 3


def test_the_prior_joins_with_its_prompt_and_weight():
    batch = draw(lesson(prior=2), 0, 4, 1000, prior_weight=0.5, dropout=0.0)
    assert batch.prompts.tolist() == [INSTANCE] * 4 + [PRIOR] * 4
    assert (batch.clean[4:] == 100).all()
    assert batch.weights.tolist() == [0.25] * 4 + [0.125] * 4


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_prompts_are_left_out_at_the_given_rate(share):
    batch = draw(lesson(), 0, 50, 1000, prior_weight=1.0, dropout=share)
    assert set(batch.prompts.tolist()) == {EMPTY if share else INSTANCE}


def test_seeds_follow_from_all_parts_and_fit_a_float():
    assert seed_for(0, "df", 1) != seed_for(0, "df", 2) != seed_for(1, "df", 2)
    assert seed_for(0, "df", 1) == seed_for(0, "df", 1)
    assert int(float(seed_for(3, "mel", 17))) == seed_for(3, "mel", 17)


def test_an_image_goes_with_its_own_prompt():
    told = dataclasses.replace(lesson(), told=torch.tensor([3, 4, 3, INSTANCE, 5]))
    batch = draw(told, 0, 10, 1000, prior_weight=1.0, dropout=0.0)
    assert batch.prompts.tolist() == [[3, 4, 3, INSTANCE, 5][int(image)] for image in batch.clean[:, 0, 0, 0]]
    assert set(draw(told, 0, 9, 1000, prior_weight=1.0, dropout=1.0).prompts.tolist()) == {EMPTY}
