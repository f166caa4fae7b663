"""The regions that LA-MCTS selects, and what is said of them."""

import itertools

import numpy as np
import pytest

from search import benchmarks, lamcts, partition, regions, spaces

PLANE = spaces.box(-10.0, 10.0, 2)


def halfspace(normal, offset):
    """A boundary that is good where normal . x + offset > 0."""
    return partition.Boundary(np.array([normal], float), np.ones(1), float(offset), 1.0, "linear")


RIGHT, UPPER = halfspace([1, 0], -0.5), halfspace([0, 1], -0.25)


def by_hand():
    """Right half; of the left one, what is above a quarter, and what is below."""

    def leaf(*members):
        return partition.Node(np.array(members), None, None, None)

    left = partition.Node(np.array([2, 3]), UPPER, leaf(2), leaf(3))
    return partition.Node(np.arange(4), RIGHT, leaf(0, 1), left)


def test_a_tree_by_hand():
    root, values = by_hand(), np.array([4.0, 2.0, 1.0, 0.0])
    assert (regions.splits(root), regions.depth(root)) == (2, 2)
    assert (regions.splits(root.good), regions.depth(root.good)) == (0, 0)
    found = regions.with_regions(root)
    assert [list(leaf.members) for leaf, _ in found] == [[0, 1], [2], [3]]
    at = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.1]])
    for place, (_, region) in enumerate(found):
        assert list(partition.inside(region, at)) == [place == i for i in range(3)]
    np.testing.assert_allclose(regions.means(root, values, at), [3.0, 1.0, 0.0])
    np.testing.assert_allclose(regions.means(root, values, at, 1), [3.0, 0.5, 0.5])
    np.testing.assert_allclose(regions.means(root, values, at, 0), 1.75)


def test_volumes_of_boxes():
    rng = np.random.default_rng(0)
    assert regions.volume((), 3, rng) == pytest.approx(1.0)
    shares = [regions.volume(region, 2, rng) for _, region in regions.with_regions(by_hand())]
    np.testing.assert_allclose(shares, [0.5, 0.375, 0.125], atol=0.02)
    upper = ((halfspace([1], -0.75), True),)
    np.testing.assert_allclose(regions.volume(upper, 1, rng), 0.25, atol=0.02)
    # A small square around the middle, of side 0.002: uniform points would miss it.
    edges = [([1, 0], -0.499), ([-1, 0], 0.501), ([0, 1], -0.499), ([0, -1], 0.501)]
    small = tuple((halfspace(normal, offset), True) for normal, offset in edges)
    np.testing.assert_allclose(regions.volume(small, 2, rng), 4e-6, rtol=0.05)
    for shells, each in ((0, 10), (3, 0)):
        with pytest.raises(ValueError, match="shells, each"):
            regions.volume((), 2, rng, shells=shells, each=each)


@pytest.mark.parametrize("solver", ["random", "turbo"])
def test_an_iteration_is_a_tree_and_what_it_selects(solver):
    pytest.importorskip("sklearn")
    settings = lamcts.Settings(solver=solver, num_init=20, round_init=5, round_most=5, leaf_size=8)
    batch = 5 if solver == "random" else 1
    found = regions.iterations(
        PLANE, settings, benchmarks.objective("ackley"), seed=3, count=4, batch=batch
    )
    assert [each.history.asked for each in found] == [20, 25, 30, 35]
    for each, after in itertools.pairwise(found):
        units = PLANE.to_unit(each.history.points)
        root, values = lamcts.tree(settings, PLANE, each.history)
        leaf, region = partition.select(root, values, c=settings.c)
        here = partition.inside(each.region, units)
        np.testing.assert_array_equal(here, partition.inside(region, units))
        np.testing.assert_array_equal(np.flatnonzero(here), leaf.members)
        np.testing.assert_allclose(each.selected, values[leaf.members].mean())
        assert each.best == values.max()
        # What is sampled next lies in it.
        new = after.history.points[each.history.asked :]
        assert partition.inside(each.region, PLANE.to_unit(new)).all()
    with pytest.raises(ValueError, match="at least 1"):
        regions.iterations(PLANE, settings, benchmarks.objective("ackley"), seed=3, count=0)


def test_the_optimum_lies_in_a_region_or_not():
    bare = partition.Node(np.array([0]), None, None, None)
    edge = halfspace([1, 0], -0.4)
    for side in (True, False):
        each = regions.Iteration(None, bare, ((edge, side),), -3.0, -2.0)
        found = regions.measure(PLANE, each)
        assert found["contains_optimum"] == float(side)  # the origin is at 0.5
        np.testing.assert_allclose(found["volume_percent"], 60 if side else 40, atol=2)
        assert (found["selected_regret"], found["splits"], found["best_value"]) == (3.0, 0.0, 2.0)
    cube = spaces.box(-5.0, 10.0, 3)
    assert "volume_percent" not in regions.measure(cube, each._replace(region=()))


def test_maxima_of_a_sine():
    pytest.importorskip("sklearn")
    for low, high, count in ((0.0, 4 * np.pi, 2), (-10.0, 10.0, 3)):
        found = regions.sine(low, high, 0)
        np.testing.assert_allclose(np.sin(found.maxima), np.ones(count))
        assert found.box.contains(found.maxima[:, None]).all()
        np.testing.assert_allclose(found.values, np.sin(found.box.from_unit(found.units)[:, 0]))


def test_the_regret_follows_the_splits():
    """Iterations of 0, 1 and 2 splits: of their regrets the order alone counts."""
    leaf = partition.Node(np.arange(4), None, None, None)
    one = partition.Node(np.arange(4), RIGHT, leaf, leaf)
    run = [
        regions.Iteration(None, root, (), selected, 0.0)
        for root, selected in zip((leaf, one, by_hand()), (-9.0, -1.0, -0.5), strict=True)
    ]
    np.testing.assert_allclose(regions.regret_correlation(run), -1.0)
    swapped = [run[0], run[1]._replace(selected=-0.1), run[2]]
    np.testing.assert_allclose(regions.regret_correlation(swapped), -0.5)
    assert regions.regret_correlation([run[1], run[1]._replace(selected=0.0)]) == 0.0
