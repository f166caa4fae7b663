"""DOO, SOO and VOO keep the contract, and split as a plain list of boxes says."""

import math

import numpy as np
import pytest

from search import interface, optimistic, spaces
from tests.search.contract import check_searcher

BOX = spaces.box(-5.0, 10.0, 2)
MAKE = {
    "doo": lambda: optimistic.doo(BOX),
    "soo": lambda: optimistic.soo(BOX),
    "voo": lambda: optimistic.voo(BOX),
}


def bumps(x, seed):
    # Not alike along the axes, so that no two cells are equally good.
    return float(-np.abs(x - 2.0) @ [1.0, 1.3] + 3.0 * np.cos(2.0 * x) @ [1.0, 0.9])


@pytest.mark.parametrize("name", MAKE)
def test_it_keeps_the_contract(name):
    check_searcher(MAKE[name](), bumps, budget=15, valid=lambda x: BOX.contains(x[None])[0])


class Slow:
    """Leaves as a list of corners, without heaps or shared bounds."""

    def __init__(self):
        self.leaves = []
        self.asked = []
        self.add(np.zeros(2), np.ones(2), 0)

    def add(self, low, high, depth, value=None):
        if value is None:
            x = BOX.from_unit(((low + high) / 2)[None])[0]
            self.asked.append(x)
            value = bumps(x, 0)
        self.leaves.append((low, high, depth, value))

    def split(self, leaf):
        self.leaves = [each for each in self.leaves if each is not leaf]
        low, high, depth, value = leaf
        axis = int(np.argmax(np.round(high - low, 12)))
        cuts = [low[axis] + (high[axis] - low[axis]) * i / 3 for i in range(4)]
        for part, known in ((1, value), (0, None), (2, None)):
            a, b = low.copy(), high.copy()
            a[axis], b[axis] = cuts[part], cuts[part + 1]
            self.add(a, b, depth + 1, known)


def slow_doo(budget, slope):
    slow = Slow()
    while len(slow.asked) < budget:
        values = [bumps(x, 0) for x in slow.asked]
        spread = slope * (max(values) - min(values)) / math.sqrt(2)
        slow.split(
            max(slow.leaves, key=lambda leaf: leaf[3] + spread * np.linalg.norm(leaf[1] - leaf[0]))
        )
    return slow.asked[:budget]


def slow_soo(budget):
    slow, splits = Slow(), 0
    while len(slow.asked) < budget:
        best = -np.inf
        for depth in range(min(max(leaf[2] for leaf in slow.leaves), math.isqrt(splits)) + 1):
            there = [leaf for leaf in slow.leaves if leaf[2] == depth]
            if there and max(leaf[3] for leaf in there) >= best:
                chosen = max(there, key=lambda leaf: leaf[3])
                best = chosen[3]
                slow.split(chosen)
                splits += 1
    return slow.asked[:budget]


@pytest.mark.parametrize("slope", [0.0, 0.3, 5.0])
def test_doo_splits_the_highest_bound(slope):
    run = interface.maximise(optimistic.doo(BOX, slope=slope), bumps, budget=61)
    points = [trial.point for trial in run.trials]
    np.testing.assert_allclose(points, slow_doo(61, slope), atol=1e-9)


@pytest.mark.parametrize("name", ["doo", "soo"])
@pytest.mark.parametrize("seed", range(4))
def test_failures_do_not_change_where_values_belong(name, seed):
    # Worse values come after a failure: what was asked for is still the middle of a cell.
    rng = np.random.default_rng(seed)
    failing = set(rng.choice(60, 12, replace=False).tolist())
    count = iter(range(60))

    def now_and_then(x, s):
        return float("nan") if next(count) in failing else bumps(x, s)

    run = interface.maximise(MAKE[name](), now_and_then, budget=60)
    points = np.array([trial.point for trial in run.trials])
    assert len(np.unique(points.round(9), axis=0)) == 60
    cells = optimistic._Cells(2)
    order = optimistic._doo(cells, 1.0) if name == "doo" else optimistic._soo(cells)
    for point, value in zip(points, run.values, strict=True):
        np.testing.assert_allclose(BOX.from_unit(next(order)[None])[0], point, atol=1e-9)
        cells.values.append(min(cells.values, default=0.0) if np.isnan(value) else value)


def test_soo_sweeps_all_depths():
    run = interface.maximise(optimistic.soo(BOX), bumps, budget=61)
    np.testing.assert_allclose([trial.point for trial in run.trials], slow_soo(61), atol=1e-9)
    grid = np.stack(np.meshgrid(*[np.linspace(-5.0, 10.0, 301)] * 2), -1).reshape(-1, 2)
    top = max(bumps(x, 0) for x in grid)
    assert run.best[-1] > 0.98 * top


def test_voo_draws_nearest_to_the_best():
    run = interface.maximise(optimistic.voo(BOX, uniform=0.0), bumps, budget=40, seed=3)
    points = np.array([trial.point for trial in run.trials])
    for number in range(1, 40):
        best = int(np.argmax(run.values[:number]))
        distances = np.linalg.norm(points[:number] - points[number], axis=1)
        assert distances.argmin() == best
    whole = interface.maximise(optimistic.voo(BOX, uniform=1.0), bumps, budget=400, seed=3)
    units = BOX.to_unit(np.array([trial.point for trial in whole.trials]))
    np.testing.assert_allclose(units.mean(0), 0.5, atol=0.06)


def test_voo_finds_the_cell_of_many_dimensions():
    wide = spaces.box(0.0, 1.0, 30)
    run = interface.maximise(optimistic.voo(wide), lambda x, s: -((x - 0.3) ** 2).sum(), budget=150)
    assert run.best[-1] > run.best[20]


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="slope: expected at least 0"):
        optimistic.doo(BOX, slope=-1.0)
    with pytest.raises(ValueError, match="uniform: expected 0 to 1"):
        optimistic.voo(BOX, uniform=1.5)
