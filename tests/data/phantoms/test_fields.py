import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from data.phantoms.fields import EXTENT, absorb, blend, cells, grid, noise, outline, rim, scatter, spots, step

SEEDS = some.integers(0, 2**32 - 1)
N = 96


def rng(seed):
    return np.random.default_rng(seed)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_noise_is_centred_has_about_unit_spread_and_is_the_seed_s_own(seed):
    drawn = np.stack([noise(rng([seed, k]), N, 12) for k in range(4)])
    assert abs(drawn.mean()) < 0.3
    assert 0.7 < drawn.std() < 1.4
    np.testing.assert_array_equal(noise(rng([seed, 0]), N, 12), drawn[0])
    assert not np.array_equal(drawn[0], drawn[1])


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, margin=some.floats(0, 0.1), apart=some.floats(0.05, 0.2))
def test_scattered_points_lie_inside_the_border_and_apart(seed, margin, apart):
    depth = outline(rng(seed), N, 0.6, oval=0.2, lobes=0.1, ragged=0.1)
    points = scatter(rng(seed + 1), depth, 12, margin, apart)
    assert 0 < len(points) <= 12
    at = ((points / EXTENT + 1) * N / 2).astype(int)
    assert (depth[at[:, 1], at[:, 0]] >= margin).all()
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))[~np.eye(len(points), dtype=bool)]
    assert (distances >= apart - 1e-6).all()


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_points_of_the_rim_are_where_a_round_border_is(seed):
    x, y = grid(N)
    points, angles = rim(rng(seed), 0.7 - np.hypot(x, y), 9, around=1.0, spread=0.4)
    assert np.hypot(*points.T) == pytest.approx(np.full(9, 0.7), abs=0.06)
    assert (np.abs(angles - 1.0) <= 0.4 + 1e-6).all()
    np.testing.assert_allclose(np.arctan2(points[:, 1], points[:, 0]), angles, atol=1e-5)


def test_a_round_outline_is_its_radius_deep_in_the_middle_and_nothing_at_the_border():
    depth = outline(rng(0), N, 0.5, oval=0, lobes=0, ragged=0)
    x, y = grid(N)
    np.testing.assert_allclose(depth, 0.5 - np.hypot(x, y), atol=1e-5)


def test_a_step_rises_smoothly_from_nothing_to_one():
    values = step(np.linspace(-1, 2, 301, dtype=np.float32), 0.0, 1.0)
    assert (values[:100] == 0).all()
    assert (values[201:] == 1).all()
    assert values[150] == pytest.approx(0.5)
    assert (np.diff(values) >= 0).all()


def test_clods_are_where_their_points_are_and_a_honeycomb_s_holes_are_nothing_in_the_middle():
    drawn = spots(rng(0), N, np.array([[0.5, -0.5]], np.float32), (0.1, 0.1))
    x, y = grid(N)
    far = np.hypot(x - 0.5, y + 0.5) > 0.25
    assert drawn[far].max() < 1e-6
    assert 0.5 < drawn.max() <= 1
    net = cells(rng(0), N, 0.3, 0.2)
    assert net.min() == 0
    assert 0.8 < np.quantile(net, 0.98) < 2.5


def test_a_pigment_darkens_by_its_colour_and_a_veil_covers_by_its_share():
    skin = np.full((3, 2, 2), 0.8, np.float32)
    amount = np.array([[0, 1], [2, 0.5]], np.float32)
    seen = absorb(skin, amount, (0.1, 0.5, 1.0))
    np.testing.assert_allclose(seen[2], 0.8 * np.exp(-amount), rtol=1e-6)
    np.testing.assert_allclose(seen[:, 0, 0], 0.8)
    veiled = blend(skin, (1.0, 0.0, 0.4), np.array([[0, 1], [0.5, 0]], np.float32))
    np.testing.assert_allclose(veiled[:, 0, 1], [1.0, 0.0, 0.4], atol=1e-6)
    np.testing.assert_allclose(veiled[:, 1, 0], [0.9, 0.4, 0.6], atol=1e-6)
