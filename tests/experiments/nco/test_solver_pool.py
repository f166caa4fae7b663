"""A pool of processes finds what one process finds, and says which instance failed."""

import warnings

import jax
import numpy as np
import pytest

from experiments.nco.solver_pool import solve_many
from nco import solvers


def uniform(seed, *shape):
    return np.random.default_rng(seed).uniform(size=(*shape, 2))


def length(coords, tour):
    steps = coords[tour] - coords[np.roll(tour, -1)]
    return np.sqrt((steps**2).sum(axis=-1)).sum()


def test_processes_agree_with_one_process_even_after_jax_has_run():
    jax.block_until_ready(jax.numpy.ones(3) + 1)
    instances, seen = uniform(8, 9, 10), []
    alone = solve_many(solvers.christofides, instances, processes=1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pooled = solve_many(
            solvers.christofides, instances, processes=2, progress=lambda *args: seen.append(args)
        )
    assert not [str(one.message) for one in warned if "fork" in str(one.message)]
    np.testing.assert_array_equal(pooled.tours, alone.tours)
    np.testing.assert_array_equal(pooled.lengths, alone.lengths)
    assert pooled.tours.dtype == np.int32
    assert pooled.tours.shape == (9, 10)
    assert (pooled.seconds > 0).all()
    assert seen == [(done, 9) for done in range(1, 10)]
    for coords, tour, found in zip(instances, alone.tours, alone.lengths, strict=True):
        assert found == pytest.approx(length(coords, tour))


def test_many_matrices():
    instances = uniform(9, 3, 8)
    matrices = np.stack([solvers.distances(coords) for coords in instances])
    by_matrix = solve_many(solvers.exact, matrices=matrices, processes=1)
    by_coords = solve_many(solvers.exact, instances, processes=1)
    np.testing.assert_allclose(by_matrix.lengths, by_coords.lengths)


def test_no_instances():
    found = solve_many(solvers.exact, np.zeros((0, 5, 2)))
    assert found.tours.shape == (0, 5)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failing_instance_is_named(processes):
    instances = uniform(10, 3, 5)
    instances[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="finite") as caught:
        solve_many(solvers.christofides, instances, processes=processes)
    assert caught.value.__notes__ == ["while solving instance 1"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, "exactly one"),
        ((np.zeros((1, 4, 2)),), {"matrices": np.zeros((1, 4, 4))}, "exactly one"),
        ((np.zeros((4, 2)),), {}, "coords: expected 3 axes"),
        ((), {"matrices": np.zeros((4, 4))}, "matrix: expected 3 axes"),
        ((np.zeros((1, 4, 2)),), {"processes": 0}, "processes"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        solve_many(solvers.exact, *arguments, **options)
