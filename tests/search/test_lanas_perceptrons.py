"""LaNAS with a perceptron in each node (figure 4.6b)."""

import numpy as np
import pytest

from search import lanas, linear_tree, spaces
from tests.search.contract import check_searcher

TABLE = spaces.choices([3] * 5)
ENCODINGS = TABLE.one_hot(TABLE.every())


def alike(cells):
    """1 where the first two choices are the same: no linear function tells."""
    return (cells[:, 0] == cells[:, 1]).astype(float) + 0.01 * cells[:, 2]


def test_a_perceptron_splits_what_no_linear_function_does():
    pytest.importorskip("sklearn")
    values = alike(TABLE.every())
    tree = linear_tree.learn(ENCODINGS, values, 2, hidden_units=16)
    left = linear_tree.route(tree, ENCODINGS) == 1
    np.testing.assert_array_equal(left, values > values.mean())
    np.testing.assert_array_equal(linear_tree.inside(tree, 1, ENCODINGS), left)
    straight = linear_tree.route(linear_tree.learn(ENCODINGS, values, 2), ENCODINGS) == 1
    assert np.mean(straight == (values > values.mean())) < 0.8


def test_the_tree_is_scikit_learns_networks():
    neural = pytest.importorskip("sklearn.neural_network")
    rows = np.random.default_rng(0).permutation(243)[:90]
    values = 3.0 + 5.0 * alike(TABLE.every()[rows])
    tree = linear_tree.learn(ENCODINGS[rows], values, 3, hidden_units=8, seed=4)
    target = (values - values.mean()) / values.std()
    network = neural.MLPRegressor(
        hidden_layer_sizes=(8,), solver="lbfgs", max_iter=200, random_state=4
    )
    good = network.fit(ENCODINGS[rows], target).predict(ENCODINGS) > 0
    np.testing.assert_allclose(tree.hidden.weights[0], network.coefs_[0])
    where = linear_tree.route(tree, ENCODINGS)
    np.testing.assert_array_equal(good, (where == 3) | (where == 4) | (where == 1))
    for leaf in np.unique(where):
        inside = linear_tree.inside(tree, int(leaf), ENCODINGS)
        np.testing.assert_array_equal(where == leaf, inside)


def test_the_search_keeps_the_contract():
    pytest.importorskip("sklearn")
    check_searcher(
        lanas.searcher(TABLE, height=3, num_init=6, select_every=6, hidden_units=4, c=0.5),
        lambda x, seed: float(x.sum()),
        budget=18,
        valid=lambda x: TABLE.contains(x[None])[0],
    )


def test_what_does_not_go_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="hidden_units: expected 0 in a box"):
        lanas.searcher(spaces.box(0.0, 1.0, 2), hidden_units=4)
    with pytest.raises(ValueError, match="hidden_units: expected at least 0"):
        lanas.searcher(TABLE, hidden_units=-1).init(0)
    with pytest.raises(ValueError, match="tree: expected linear functions"):
        linear_tree.halfspaces(linear_tree.bare(2, 15, 4), 1)

    def without(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        linear_tree.learn(ENCODINGS, alike(TABLE.every()), 2, hidden_units=2)
