"""How well a tree partitions a known table, by hand and by enumeration."""

import itertools

import numpy as np
import pytest

from search import linear_tree, partition_quality, spaces

TABLE = spaces.choices([3] * 5)
ENCODINGS = TABLE.one_hot(TABLE.every())
LINEAR = ENCODINGS @ np.random.default_rng(0).standard_normal(15)
NOISY = LINEAR + 0.8 * np.random.default_rng(1).standard_normal(243)


def grown(values, count, height=4, seed=0):
    rows = np.random.default_rng(seed).permutation(243)[:count]
    return linear_tree.learn(ENCODINGS[rows], values[rows], height), rows


def test_leaves_of_a_linear_function_are_in_order():
    tree, _ = grown(LINEAR, 243)
    means = partition_quality.leaf_means(tree, ENCODINGS, LINEAR)
    found = partition_quality.ordering(means)
    assert len(means) == 8
    assert found.adjacent == 1.0
    np.testing.assert_allclose(found.correlation, 1.0)
    reverse = partition_quality.ordering(means[::-1])
    assert reverse.adjacent == 0.0
    np.testing.assert_allclose(reverse.correlation, -1.0)


def test_an_ordering_by_hand():
    means = np.array([0.9, np.nan, 0.7, 0.8, 0.1])
    found = partition_quality.ordering(means)
    np.testing.assert_allclose(found, (2 / 3, 0.8))
    assert partition_quality.ordering(np.array([0.5, 0.5])) == (0.0, 0.0)
    with pytest.raises(ValueError, match="means: expected at least two"):
        partition_quality.ordering(means[:2])


def test_leaves_come_left_to_right_wherever_the_tree_stops():
    tree = linear_tree.bare(3, 15)
    assert partition_quality.leaves(tree) == [0]
    split = np.array([True, False, True])
    assert partition_quality.leaves(tree._replace(split=split)) == [1, 5, 6]
    full, _ = grown(NOISY, 243)
    assert partition_quality.leaves(full) == list(range(7, 15))
    means = partition_quality.leaf_means(full, ENCODINGS, NOISY)
    where = linear_tree.route(full, ENCODINGS)
    np.testing.assert_allclose(means, [NOISY[where == leaf].mean() for leaf in range(7, 15)])


def test_the_divergence_of_two_histograms_by_hand():
    edges = partition_quality.equal_bins(np.arange(8.0), 4)
    np.testing.assert_allclose(partition_quality.histogram(np.arange(8.0), edges), 0.25)
    np.testing.assert_allclose(
        partition_quality.histogram(np.array([-9.0, 9.0, 9.0, 9.0]), edges), [0.25, 0, 0, 0.75]
    )
    some = partition_quality.histogram(np.array([0.0]), np.array([1.0]), prior=1.0)
    np.testing.assert_allclose(some, [2 / 3, 1 / 3])
    on_edge = partition_quality.histogram(np.array([1.0]), np.array([1.0]))
    np.testing.assert_allclose(on_edge, [0, 1])
    p, q = np.array([1.0, 0.0]), np.array([0.25, 0.75])
    np.testing.assert_allclose(partition_quality.divergence(p, q), np.log(4.0))
    assert partition_quality.divergence(q, q) == 0.0
    with pytest.raises(ValueError, match="q: expected a share above 0"):
        partition_quality.divergence(q, p)
    with pytest.raises(ValueError, match="values: expected at least one"):
        partition_quality.histogram(np.zeros(0), edges)
    with pytest.raises(ValueError, match="bins"):
        partition_quality.equal_bins(np.arange(8.0), 1)


def test_a_partition_error_by_hand():
    values = np.array([0.0, 1.0, 2.0, 3.0, 10.0])  # mean 3.2, median 2, deviation 3.54
    # The estimate is the mean: [-0.34, 2] holds 0, 1 and 2; [2, 6.74] holds 2 and 3.
    assert partition_quality.partition_error(values, 3.2) == 3
    even = np.arange(100.0)  # mean and median 49.5, deviation 28.87
    assert partition_quality.partition_error(even, 49.5) == 29  # 21 to 49, or 50 to 78
    assert partition_quality.partition_error(even, 60.0) == 50  # 50 to 99: it reaches 99.4
    assert partition_quality.partition_error(even, 40.0) == 48  # 2 to 49: it reaches 1.6
    assert partition_quality.partition_error(np.array([0.0, 0.0, 1.0]), 1 / 3) == 2


def test_the_bound_by_hand():
    assert partition_quality.bound(64, 0, 3) == 8
    assert partition_quality.bound(64, 10, 3) == 25.5
    assert partition_quality.bound(64, 10, 0) == 64
    with pytest.raises(ValueError, match="splits"):
        partition_quality.bound(64, 10, -1)


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_holds_where_no_node_exceeds_its_error(seed):
    """The theorem's recursion, with the exact errors in the place of the estimated ones."""
    tree, rows = grown(NOISY, 12 + 3 * seed, seed=seed)
    path = partition_quality.left_path(tree, rows, ENCODINGS, NOISY)
    assert path.sizes[0] == 243
    assert path.sizes[-1] == np.sum(
        linear_tree.route(tree, ENCODINGS) == partition_quality.leaves(tree)[0]
    )
    # The largest excess over a half, and the recursion |leaf| <= |parent| / 2 + excess, by hand.
    excess = max(0.0, *(b - a / 2 for a, b in itertools.pairwise(path.sizes)))
    size = 243.0
    for _ in path.errors:
        size = size / 2 + excess
    np.testing.assert_allclose(path.exact, size)
    assert path.sizes[-1] <= path.exact + 1e-9


def test_the_theorems_bound_follows_where_its_errors_are_large_enough():
    held = 0
    for seed in range(12):
        tree, rows = grown(NOISY, 12 + 3 * seed, seed=seed)
        path = partition_quality.left_path(tree, rows, ENCODINGS, NOISY)
        if (path.realised <= path.errors).all():
            held += 1
            assert path.sizes[-1] <= path.limit
    assert held >= 6  # else nothing was checked


def test_the_errors_of_a_path_are_those_of_its_nodes():
    tree, rows = grown(NOISY, 60)
    path = partition_quality.left_path(tree, rows, ENCODINGS, NOISY)
    assert len(path.errors) == 3
    where = linear_tree.inside(tree, 1, ENCODINGS)
    assert path.sizes[1] == where.sum()
    among = NOISY[[row for row in rows if where[row]]].mean()
    assert path.errors[1] == partition_quality.partition_error(NOISY[where], among)
    expected = 2 * path.errors.max() * 7 / 8 + 243 / 8
    np.testing.assert_allclose(path.limit, expected)
    np.testing.assert_allclose(path.realised[0], path.sizes[1] - 121.5)
    largest = max(0.0, *(b - a / 2 for a, b in itertools.pairwise(path.sizes)))
    np.testing.assert_allclose(path.exact, 2 * largest * 7 / 8 + 243 / 8)
    bare = partition_quality.left_path(linear_tree.bare(1, 15), rows, ENCODINGS, NOISY)
    assert (bare.limit, list(bare.sizes)) == (243.0, [243])


def test_the_table_itself_does_not_diverge():
    known = partition_quality.reference(ENCODINGS, NOISY, height=4, bins=5)
    seen = partition_quality.look(known, np.arange(243), prior=0.01)
    assert 0 <= seen.quality.divergence_nats < 0.02  # the prior
    assert abs(seen.quality.mean_gap_points) < 1e-9
    assert seen.quality.left_cells == len(known.leaves[7])
    np.testing.assert_allclose(seen.means[0], known.leaves[7].mean())
    np.testing.assert_allclose(seen.shares.sum(1), 1.0)
    assert seen.quality.steps_hold == seen.quality.bound_holds == 1.0


def test_a_leaf_without_samples_is_left_out():
    known = partition_quality.reference(ENCODINGS, NOISY, height=5, bins=5)
    _, few = grown(NOISY, 12)
    seen = partition_quality.look(known, few)
    tree = linear_tree.learn(ENCODINGS[few], NOISY[few], 5)
    lowest = [leaf >= 15 for leaf in partition_quality.leaves(tree)]
    assert np.isfinite(seen.means).sum() == sum(lowest) < 16
