"""How far searches have come, by hand."""

import numpy as np

from search import progress
from search.progress import Found

POINTS = np.array([[0, 1], [2, 2], [0, 1], [1, 1], [3, 0], [4, 4]])
VALUES = np.array([0.1, np.nan, 0.9, 0.3, 0.2, 0.3])


def test_a_point_asked_for_again_costs_nothing():
    found = progress.until_best(POINTS, VALUES, best=0.3, budget=40)
    assert (found.samples, found.found) == (3, True)
    np.testing.assert_array_equal(found.best, [0.1, 0.1, 0.3])


def test_a_search_that_has_not_found_the_best_counts_its_budget():
    found = progress.until_best(POINTS, VALUES, best=0.5, budget=40)
    assert (found.samples, found.found) == (40, False)
    np.testing.assert_array_equal(found.best, [0.1, 0.1, 0.3, 0.3, 0.3])


def test_the_regret_is_zero_from_where_the_best_was_found():
    found = [
        Found(3, True, np.array([0.1, 0.2, 0.3])), Found(4, False, np.array([0.1, 0.1, 0.1, 0.25]))
    ]  # fmt: skip
    np.testing.assert_allclose(
        progress.regrets(found, 0.3, 4), [[0.2, 0.1, 0, 0], [0.2, 0.2, 0.2, 0.05]], atol=1e-12
    )


def test_the_first_evaluation_that_reaches_a_threshold():
    curves = np.array([[0.1, 0.5, 0.4], [0.5, 0.1, 0.1], [0.1, 0.2, 0.3]])
    assert progress.first_at(curves, 0.5, never=9).tolist() == [2, 1, 9]
