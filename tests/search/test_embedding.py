"""HesBO's embedding: hashes of coordinates, and a search inside."""

import numpy as np
import pytest

from search import baselines, embedding, interface, spaces
from tests.search.contract import check_searcher

BOX = spaces.box([-5.0] * 9 + [0.0], [10.0] * 9 + [1.0])


def tilted(x, seed):
    return float(x[:9].sum())


def test_it_keeps_the_contract():
    searcher = embedding.hashed(BOX, 3, baselines.random)
    check_searcher(searcher, tilted, budget=12, valid=lambda x: BOX.contains(x[None])[0])


def test_coordinates_copy_hashed_ones():
    searcher = embedding.hashed(BOX, 3, baselines.random)
    run = interface.maximise(searcher, tilted, budget=200, seed=4)
    small = baselines.random(spaces.box(-1.0, 1.0, 3))
    inside = interface.maximise(small, tilted, budget=200, seed=4)
    axes, signs = embedding.hashes(4, 10, 3)
    units = 2.0 * BOX.to_unit(np.array([trial.point for trial in run.trials])) - 1.0
    inner = np.array([trial.point for trial in inside.trials])
    np.testing.assert_allclose(units, inner[:, axes] * signs, atol=1e-12)
    assert np.linalg.matrix_rank(units) == len(set(axes)) == 3
    assert not np.array_equal(embedding.hashes(5, 10, 3)[0], axes)


def test_every_coordinate_is_hashed_alike_often():
    axes, signs = embedding.hashes(0, 30_000, 3)
    np.testing.assert_allclose(np.bincount(axes) / 30_000, 1 / 3, atol=0.02)
    assert abs(signs.mean()) < 0.02


def test_bad_dimensions_are_named():
    for dim in (0, 11):
        with pytest.raises(ValueError, match="dim: expected 1 to 10"):
            embedding.hashed(BOX, dim, baselines.random)
