import itertools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.problems import tsp
from tests.nco import drawn, oracle

_length = jax.jit(tsp.tour_length)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_length_equals_the_edgewise_sum_and_keeps_under_symmetries(n, seed):
    rng = np.random.default_rng(seed)
    coords, tour = rng.uniform(size=(n, 2)).astype(np.float32), rng.permutation(n).astype(np.int32)
    length = float(_length(coords, tour))
    np.testing.assert_allclose(
        length, oracle.tour_length(coords.astype(np.float64), tour), rtol=1e-5, atol=1e-6
    )
    for same in (np.roll(tour, seed % n), tour[::-1].copy()):
        np.testing.assert_allclose(
            length,
            float(_length(coords, same)),
            rtol=1e-5,
            atol=1e-6,
        )
    for swap, flip_x, flip_y in itertools.product((False, True), repeat=3):
        moved = coords[:, ::-1] if swap else coords
        moved = np.where([flip_x, flip_y], 1.0 - moved, moved).astype(np.float32)
        np.testing.assert_allclose(
            length,
            float(_length(moved, tour)),
            rtol=1e-4,
            atol=1e-5,
        )


def test_batched_lengths_and_reward():
    coords, rng = drawn.instances(5, 6), np.random.default_rng(0)
    tours = rng.permuted(np.tile(np.arange(6, dtype=np.int32), (3, 5, 1)), axis=-1)
    reward = jax.jit(tsp.problem.reward)(coords, tours)
    assert reward.shape == (3, 5)
    for s, b in itertools.product(range(3), range(5)):
        np.testing.assert_allclose(
            -reward[s, b],
            oracle.tour_length(coords[b].astype(np.float64), tours[s, b]),
            rtol=1e-5,
        )


def test_instances_fill_the_unit_square_uniformly():
    coords = np.asarray(tsp.sample(jax.random.key(1), 2000, 10)).reshape(-1, 2)
    assert coords.min() >= 0.0
    assert coords.max() <= 1.0
    np.testing.assert_allclose(coords.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.cov(coords.T), np.eye(2) / 12, atol=0.002)


def test_feasible_items_are_the_unvisited_ones():
    state = tsp.problem.reset(jnp.zeros((2, 3, 2)))
    state = tsp.problem.step(state, jnp.array([1, 2], jnp.int32))
    assert np.array_equal(tsp.problem.feasible(state), [[True, False, True], [True, True, False]])
