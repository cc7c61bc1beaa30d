import time

import cv2
import numpy as np

from data.train_views import train_augmentation

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_views_and_another_gives_others():
    image = NOISE[:, :48]
    views = [[train_augmentation(32, seed)(image) for _ in range(1)] for seed in (3, 3, 4)]
    assert (np.array(views[0]) == np.array(views[1])).all()
    assert (np.array(views[0]) != np.array(views[2])).any()
    one, other = train_augmentation(32, 5), train_augmentation(32, 5)
    series = [(one(image), other(image)) for _ in range(20)]
    assert all((a == b).all() for a, b in series)
    assert len({a.tobytes() for a, _ in series}) == 20
    assert series[0][0].shape == (32, 32, 3)
    assert series[0][0].dtype == np.uint8


def test_global_seeds_do_not_reach_the_views():
    image = NOISE[:, :48]
    view = train_augmentation(48, 7)(image)
    np.random.seed(1)  # noqa: NPY002 - that it has no effect is the point
    assert (train_augmentation(48, 7)(image) == view).all()


def test_views_stay_mild():
    image = np.full((64, 64, 3), (180, 120, 100), np.uint8)
    views = train_augmentation(64, 0)
    means = np.array([views(image).mean((0, 1)) for _ in range(100)])
    assert np.abs(means - image[0, 0]).max() < 50
    assert means.std(0).min() > 1


def test_randaugment_changes_more_and_follows_the_seed_too():
    image = cv2.resize(NOISE[:8, :8], (64, 64), interpolation=cv2.INTER_CUBIC)
    light, strong, again = (train_augmentation(64, 3, kind) for kind in ("light", "randaugment", "randaugment"))
    series = [(light(image), strong(image), again(image)) for _ in range(60)]
    assert all((b == c).all() for _, b, c in series)
    assert all(b.shape == (64, 64, 3) and b.dtype == np.uint8 for _, b, _ in series)

    def spread(views):
        return np.std([view.mean((0, 1)) for view in views], axis=0).mean()

    assert spread([b for _, b, _ in series]) > 1.5 * spread([a for a, _, _ in series])
    assert len({b.tobytes() for _, b, _ in series}) == 60


def test_light_augmentation_is_what_it_is_without_a_word():
    image = NOISE[:, :48]
    assert (train_augmentation(48, 7)(image) == train_augmentation(48, 7, "light")(image)).all()
    assert (train_augmentation(48, 7)(image) != train_augmentation(48, 7, "randaugment")(image)).any()


def test_a_view_of_64_pixels_takes_less_than_a_third_of_a_millisecond():
    views, image = train_augmentation(64, 0), NOISE[:48, :48]
    views(image)
    fastest = min(_seconds(lambda: [views(image) for _ in range(100)]) for _ in range(5)) / 100
    assert fastest < 0.3e-3


def _seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start
