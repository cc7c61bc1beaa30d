"""The gate refuses what is planted, keeps other lesions, and says why; its limits follow from photographs."""

import numpy as np
import pytest

from augment.generate.defects import Limits
from augment.generate.planted import CHANGES, planted
from augment.generate.select import (
    COPY,
    LOOK_ALIKE,
    OFF_CLASS,
    REPEATED,
    Photographs,
    copy_control,
    select,
)
from augment.generate.select import _limit as limit_of
from data.coding import reconstruct

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def copies(photographs, vae):
    """Half the melanomas, changed in every way and coded."""
    some = photographs.pixels[photographs.labels == "mel"][::2]
    changed = {change: planted(some, change, seed=1) for change in CHANGES}
    return changed | {"autoencoded": reconstruct(vae, some)}


@pytest.fixture(scope="module")
def control(photographs, copies):
    return copy_control(photographs, "mel", copies)


def part(photographs, rows):
    columns = (photographs.labels, photographs.groups, photographs.lesions)
    labels, groups, lesions = (column[rows] for column in columns)
    return Photographs(pixels=photographs.pixels[rows], labels=labels, groups=groups, lesions=lesions)


def selected(photographs, images, evaluation=None, **changes):
    chosen = {
        "files": list(images),
        "images": images,
        "train": photographs,
        "evaluation": part(photographs, slice(0)) if evaluation is None else evaluation,
        "copies_above": 0.25,
        "limits": Limits.of(photographs.pixels),
        **changes,
    }
    return select(**chosen)


def test_99_of_100_planted_copies_are_caught_and_at_most_2_of_100_other_lesions(photographs, others, copies, control):
    caught = {name: (found > control.limit).mean() for name, found in control.planted.items()}
    assert caught.keys() == copies.keys()
    assert min(caught.values()) >= 0.99, caught
    found = selected(photographs, others.pixels, copies_above=control.limit)
    alarms = np.array([COPY in reasons for reasons in found.reasons])
    assert alarms.mean() <= 0.02
    assert alarms[others.labels == "mel"].mean() <= 0.02


def test_the_controls_of_a_class_are_its_own_photographs_first(photographs, control):
    assert control.own == (photographs.labels == "mel").sum()
    assert len(control.strangers) == len(photographs.labels)
    assert (control.strangers[: control.own] > control.limit).sum() == 0
    record = control.to_record()["controls"]
    assert record["strangers"]["n"] + record["strangers of other classes"]["n"] == len(photographs.labels)
    assert record["planted: autoencoded"]["above"] == record["planted: autoencoded"]["n"] > 0
    assert 0 < record["twins"]["n"] <= 60


def test_at_most_one_of_100_further_strangers_passes_a_limit_with_confidence(rng):
    for n in (10, 40, 250):
        passed = [(rng.lognormal(-2.6, 0.4, 2000) > limit_of(rng.lognormal(-2.6, 0.4, n))).mean() for _ in range(200)]
        assert np.quantile(passed, 0.95) < 0.014
        assert np.mean(passed) > 0 or n == 10  # not so high that nothing would pass


def test_a_long_tail_counts_as_it_is_and_too_few_strangers_give_no_limit():
    tail = np.concatenate([np.full(980, 0.1), np.linspace(0.8, 0.9, 20)])
    assert (tail > limit_of(tail)).mean() == pytest.approx(0.01, abs=0.002)
    assert limit_of(np.zeros(3)) == limit_of(np.empty(0)) == limit_of(np.array([0.4])) == 1.0


def test_planted_copies_come_first_where_other_lesions_are_as_alike(photographs):
    same = photographs.pixels[:1].repeat(6, axis=0)  # called different lesions
    names = np.array([str(n) for n in range(6)])
    alike = Photographs(pixels=same, labels=np.full(6, "mel"), groups=names, lesions=names)
    found = copy_control(alike, "mel", {"light noise": planted(same, "light noise")})
    assert (found.planted["light noise"] > found.limit).all()
    assert (found.strangers > found.limit).all()


def test_copies_of_train_and_look_alikes_of_other_parts_are_refused_apart(photographs, others):
    images = np.concatenate(
        [planted(photographs.pixels[:3], "JPEG 75"), planted(others.pixels[:3], "light noise"), others.pixels[40:43]]
    )
    found = selected(photographs, images, evaluation=part(others, slice(20)))
    assert found.reasons == (*[(COPY,)] * 3, *[(LOOK_ALIKE,)] * 3, *[()] * 3)
    assert found.train.rows[:3].tolist() == [0, 1, 2]
    assert found.evaluation.rows[3:6].tolist() == [0, 1, 2]
    assert found.kept.tolist() == [False] * 6 + [True] * 3
    assert found.counts() == {COPY: 3, LOOK_ALIKE: 3}


def test_an_image_off_its_class_is_refused_and_without_a_classifier_none_is(photographs, others):
    images = others.pixels[:3]
    found = selected(photographs, images, own_probability=np.array([0.5, 0.01, 0.2]), least_probability=0.1)
    assert found.reasons == ((), (OFF_CLASS,), ())
    assert selected(photographs, images, least_probability=0.1).reasons == ((), (), ())


def test_of_images_that_are_nearly_the_same_the_first_sound_one_is_kept(photographs, others):
    images = np.concatenate([others.pixels[:1].repeat(3, axis=0), others.pixels[1:3]])
    images[2] = images[2][::-1]
    found = selected(photographs, images)
    assert found.reasons == ((), (REPEATED,), (REPEATED,), (), ())
    found = selected(photographs, images, own_probability=np.array([0, 1, 1, 1, 1.0]), least_probability=0.1)
    assert found.reasons == ((OFF_CLASS,), (), (REPEATED,), (), ())


def test_a_broken_file_is_refused_by_what_it_holds(photographs, others):
    files = [others.pixels[0], np.zeros((64, 64, 3), np.uint8), others.pixels[2][:, :32]]
    found = selected(photographs, others.pixels[:3], files=files)
    assert found.reasons == ((), ("flat", "saturated"), ("wrong size",))
