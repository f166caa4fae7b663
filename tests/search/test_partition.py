"""The tree of LA-MCTS: its boundaries, its descent, and what is sampled in a region."""

import numpy as np
import pytest

from search import bandit, partition

pytest.importorskip("sklearn")


def samples(count=120, dim=2, seed=0):
    points = np.random.default_rng(seed).random((count, dim))
    return points, -np.linalg.norm(points - 0.8, axis=1)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_a_boundary_decides_as_scikit_learn_does(kernel):
    from sklearn.svm import SVC

    points, values = samples(dim=4)
    good = values > np.median(values)
    machine = SVC(kernel=kernel, gamma=1.3, degree=3, coef0=0.0).fit(points, good)
    boundary = partition.Boundary(
        machine.support_vectors_, machine.dual_coef_[0], float(machine.intercept_[0]), 1.3, kernel
    )
    at = np.random.default_rng(1).random((50, 4))
    np.testing.assert_allclose(
        partition.decide(boundary, at), machine.decision_function(at), atol=1e-9
    )


def check_tree(node, points, values, region=()):
    """Members are what lies in the region; the good side has the higher mean. Returns leaves."""
    np.testing.assert_array_equal(node.members, np.flatnonzero(partition.inside(region, points)))
    if node.boundary is None:
        return [node]
    better, worse = (values[child.members].mean() for child in (node.good, node.bad))
    assert better > worse
    left = check_tree(node.good, points, values, (*region, (node.boundary, True)))
    return left + check_tree(node.bad, points, values, (*region, (node.boundary, False)))


@pytest.mark.parametrize("scale_values", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_members_regions_and_means_agree(kernel, scale_values):
    points, values = samples()
    root = partition.build(points, values, leaf_size=10, kernel=kernel, scale_values=scale_values)
    leaves = check_tree(root, points, values)
    assert len(leaves) > 3
    assert sum(len(leaf.members) for leaf in leaves) == len(points)
    assert [list(a.members) for a in leaves] == [list(b.members) for b in partition.leaves(root)]


def test_leaves_are_split_while_they_are_larger_than_theta():
    points, values = samples()
    sizes = [len(leaf.members) for leaf in partition.leaves(
        partition.build(points, values, leaf_size=40))]  # fmt: skip
    assert max(sizes) <= 40 < len(points)
    assert partition.build(points, values, leaf_size=120).boundary is None


def test_what_cannot_be_split_is_a_leaf():
    points = np.full((30, 2), 0.5)
    assert partition.build(points, np.zeros(30), leaf_size=5).boundary is None
    assert partition.build(samples(30)[0], np.zeros(30), leaf_size=5).members.shape == (30,)


def test_without_exploration_the_descent_is_greedy():
    points, values = samples()
    root = partition.build(points, values, leaf_size=10)
    leaf, region = partition.select(root, values, c=0.0)
    assert all(side for _, side in region)
    assert values[leaf.members].mean() > values.mean()
    assert partition.inside(region, np.array([[0.8, 0.8]]))[0]


@pytest.mark.parametrize("form", ["algorithm", "equation", "root"])
def test_the_descent_follows_the_bounds(form):
    points, values = samples()
    root = partition.build(points, values, leaf_size=10)
    for c in (0.01, 0.3, 30.0):
        leaf, region = partition.select(root, values, c=c, form=form)
        node = root
        for _, side in region:
            bounds = [
                bandit.upper_bound(
                    np.array(values[child.members].mean()), len(node.members),
                    len(child.members), c=c, form=form,
                )
                for child in (node.good, node.bad)
            ]  # fmt: skip
            assert side == (bounds[0] >= bounds[1])
            node = node.good if side else node.bad
        assert node is leaf


def test_points_of_a_region_lie_in_it_even_where_it_is_tiny():
    points, values = samples(400, dim=8, seed=3)
    root = partition.build(points, values, leaf_size=6)
    rng = np.random.default_rng(0)
    leaf, region = partition.select(root, values, c=0.0)
    found = partition.sample(region, points[leaf.members], 500, rng)
    assert found.shape == (500, 8)
    assert partition.inside(region, found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert len(np.unique(found, axis=0)) > 250
    # Wider than the cubes of side 1e-4 that it starts from.
    assert found.std(0).min() > 1e-3


def test_the_whole_cube_is_sampled_uniformly():
    found = partition.sample((), np.zeros((1, 3)), 4000, np.random.default_rng(0))
    np.testing.assert_allclose(found.mean(0), 0.5, atol=0.03)
    np.testing.assert_allclose(found.var(0), 1 / 12, atol=0.01)


def test_without_scikit_learn_it_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(partition.importlib, "import_module", absent)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        partition.build(*samples(), leaf_size=5)


def test_a_leaf_size_below_one_is_refused():
    with pytest.raises(ValueError, match="leaf_size: expected at least 1"):
        partition.build(*samples(), leaf_size=0)
