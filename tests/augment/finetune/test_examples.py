import dataclasses
import shutil

import numpy as np
import pytest
import torch

from augment.context import Context
from augment.finetune.examples import (
    EMPTY,
    INSTANCE,
    PRIOR,
    ClassExamples,
    class_prompts,
    encode_posteriors,
    sample_prior,
    symmetries,
    training_batch,
)
from augment.methods.contract import PriorPreservation
from augment.prompts import PromptConfig
from data.manifest import Manifest
from data.pixels import PixelConfig

pytestmark = pytest.mark.numerical


def examples(prior=0, loss_weight=1.0):
    means = torch.arange(5.0)[:, None, None, None, None].expand(5, 8, 8, 4, 4)
    prior_latents = torch.full((prior, 8, 4, 4), 100.0)
    return ClassExamples("df", 7, ("this", "any", ""), means, torch.zeros_like(means), prior_latents, loss_weight)


def sample(of, step, n, dropout=0.0):
    return training_batch(of, step, n, num_train_timesteps=1000, caption_dropout=dropout)


def test_the_eight_views_are_the_symmetries_of_the_square():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    views = symmetries(image)
    assert len({view.tobytes() for view in views}) == 8
    assert {np.rot90(view, axes=(1, 2)).tobytes() for view in views} == {view.tobytes() for view in views}


def test_posteriors_are_the_vae_s_of_each_view(pipe):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mean, std = encode_posteriors(pipe, pixels, dihedral=True, batch_size=5)
    assert mean.shape == std.shape == (3, 8, 8, 4, 4)
    view = torch.from_numpy(symmetries(pixels)[6][2].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = pipe.vae.encode(view).latent_dist
    torch.testing.assert_close(mean[2, 6], expected.mean[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(std[2, 6], expected.std[0], atol=1e-5, rtol=1e-4)
    single, _ = encode_posteriors(pipe, pixels, dihedral=False)
    torch.testing.assert_close(single[:, 0], mean[:, 0], atol=1e-5, rtol=1e-4)


def test_fewer_images_are_encoded_at_a_time_where_so_many_do_not_fit(pipe, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = encode_posteriors(pipe, pixels, dihedral=True)
    real, tried = pipe.vae.encode, []

    def encode(images):
        tried.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return real(images)

    monkeypatch.setattr(pipe.vae, "encode", encode)
    found = encode_posteriors(pipe, pixels, dihedral=True)
    assert tried == [8, 4] + [2] * 12
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


def test_a_step_has_the_same_batch_whenever_it_is_sampled():
    first, again = (sample(examples(4), 7, 6, dropout=0.3) for _ in range(2))
    other = sample(examples(4), 8, 6, dropout=0.3)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.timesteps, again.timesteps)
    assert not torch.equal(first.noise, other.noise)


def test_every_image_is_sampled_as_often_as_the_others():
    batch = sample(examples(), 0, 10)
    assert sorted(batch.latents[:, 0, 0, 0].tolist()) == sorted([0.0, 1, 2, 3, 4] * 2)
    few = sample(examples(), 0, 3)
    assert len(set(few.latents[:, 0, 0, 0].tolist())) == 3


def test_the_prior_joins_with_its_prompt_and_weight():
    batch = sample(examples(prior=2, loss_weight=0.5), 0, 4)
    assert batch.prompt_index.tolist() == [INSTANCE] * 4 + [PRIOR] * 4
    assert (batch.latents[4:] == 100).all()
    assert batch.loss_weights.tolist() == [0.25] * 4 + [0.125] * 4


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_captions_are_dropped_at_the_given_rate(share):
    batch = sample(examples(), 0, 50, dropout=share)
    assert set(batch.prompt_index.tolist()) == {EMPTY if share else INSTANCE}


def test_an_image_goes_with_its_own_prompt():
    own = dataclasses.replace(examples(), prompt_index=torch.tensor([3, 4, 3, INSTANCE, 5]))
    batch = sample(own, 0, 10)
    assert batch.prompt_index.tolist() == [[3, 4, 3, INSTANCE, 5][int(image)] for image in batch.latents[:, 0, 0, 0]]
    assert set(sample(own, 0, 9, dropout=1.0).prompt_index.tolist()) == {EMPTY}


def test_parts_of_a_batch_are_its_samples():
    batch = sample(examples(prior=2), 0, 4)
    parts = [batch.part(index, 2) for index in range(2)]
    assert [part.prompt_index.tolist() for part in parts] == [[INSTANCE] * 2 + [PRIOR] * 2] * 2
    assert torch.equal(torch.stack([part.noise for part in parts], dim=1).flatten(0, 1), batch.noise)


def test_with_columns_an_image_s_prompt_tells_of_the_table(shots):
    table = shots["df"].table.assign(sex=["male", "", "female", "male", "unknown"])
    manifest = Manifest(table, shots["df"].roots)
    plain, index = class_prompts("df", manifest, None, PromptConfig())
    assert plain == ("dermoscopy of a dermatofibroma", "dermoscopy of a skin lesion", "")
    assert index.tolist() == [INSTANCE] * 5
    prompts, index = class_prompts("df", manifest, None, PromptConfig(sex="sex"))
    assert prompts == (*plain, f"{plain[0]} of a man", f"{plain[0]} of a woman")
    assert index.tolist() == [3, 0, 4, 3, 0]


def test_an_image_s_caption_is_in_its_prompt_and_missing_ones_are_counted(shots, tmp_path, caplog):
    few = shots["df"].first(3)
    for path in few.paths():
        shutil.copy(path, tmp_path)
    (tmp_path / "df-1.txt").write_text("blue veil,\nrosettes (2)\n", encoding="utf-8")
    here = Manifest(few.table, {"real": tmp_path})
    prompts, index = class_prompts("df", here, None, PromptConfig(captions="files"))
    assert prompts[3:] == (r"dermoscopy of a dermatofibroma, blue veil, rosettes \(2\)",)
    assert index.tolist() == [INSTANCE, 3, INSTANCE]
    assert "df: 2 of 3 images have no caption, first df-0.png; their prompts have none" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("token", "expected"), [(None, "x-ray of a fibrous nodule"), ("sks", "x-ray of a sks fibrous nodule")]
)
def test_prompts_are_worded_as_the_study_says(shots, token, expected):
    config = PromptConfig(modality="x-ray", superclass="lung", class_names={"df": "fibrous nodule"})
    assert class_prompts("df", shots["df"], token, config)[0] == (expected, "x-ray of a lung", "")


def test_the_prior_of_a_long_prompt_is_sampled(pipe):
    context = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(superclass="skin " * 19 + "skin"), seed=0)
    assert sample_prior(pipe, PriorPreservation(num_class_images=1, loss_weight=1.0), context).shape == (1, 8, 4, 4)


def test_a_learnt_word_stands_for_the_class(shots):
    prompts, _ = class_prompts("df", shots["df"], "<class>", PromptConfig(), token_replaces_class=True)
    assert prompts[INSTANCE] == "dermoscopy of a <class>"
    assert class_prompts("df", shots["df"], None, PromptConfig(), token_replaces_class=True)[0][INSTANCE] == (
        "dermoscopy of a dermatofibroma"
    )


def test_the_prior_is_sampled_by_seed_or_empty(pipe):
    context = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=0)
    few, more = (sample_prior(pipe, PriorPreservation(num_class_images=n, loss_weight=1.0), context) for n in (1, 2))
    assert more.shape == (2, 8, 4, 4)
    torch.testing.assert_close(few[0], more[0], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(more[0], more[1], atol=0.1)
    assert sample_prior(pipe, None, context).shape == (0, 8, 4, 4)
