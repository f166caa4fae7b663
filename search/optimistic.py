"""DOO, SOO and VOO: optimisers that split a box by a fixed rule, to compare LA-MCTS with.

Source: Munos, "Optimistic optimization of a deterministic function without the knowledge of its
smoothness", 2011 (DOO, SOO); Kim et al., "Monte Carlo tree search in continuous spaces using
Voronoi optimistic optimization", 2020 (VOO); named in Wang 2022, sections 2.2.2 and 5.2.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float

from search.baselines import from_history, one_at_a_time
from search.interface import History, Searcher, generator
from search.spaces import Box, check

Unit = Float[np.ndarray, " dim"]
_DRAWS = 1000  # points that are drawn at once for a Voronoi cell


class _Cells:
    """The leaves of a tree of boxes in the unit cube, each with the value at its middle."""

    def __init__(self, dim: int) -> None:
        self.middles: list[Unit] = [np.full(dim, 0.5)]
        self.splits: list[int] = [0]  # of a cell: its depth
        self.values: list[float] = []  # put there by whoever evaluates the middles, in order
        self.leaves: list[list[tuple[float, int]]] = []  # of a depth: a heap of (-value, cell)
        self.diameters: list[float] = []  # of the cells of a depth
        self.low, self.high = math.inf, -math.inf

    def add(self, cell: int) -> None:
        """Makes a cell that has its value a leaf."""
        value = self.values[cell]
        self.low, self.high = min(self.low, value), max(self.high, value)
        while len(self.leaves) <= self.splits[cell]:
            self.diameters.append(_diameter(len(self.leaves), len(self.middles[0])))
            self.leaves.append([])
        heapq.heappush(self.leaves[self.splits[cell]], (-value, cell))

    def best_at(self, depth: int) -> tuple[float, int]:
        """The leaf of a depth that has the highest value; of equal ones the first."""
        cost, cell = self.leaves[depth][0]
        return -cost, cell

    def split(self, depth: int) -> Iterator[Unit]:
        """Cuts the best leaf of a depth in three along its longest side.

        The middle one keeps its value. Yields the middles of the outer ones, to be evaluated.
        """
        _, cell = heapq.heappop(self.leaves[depth])
        middle = self.middles[cell]
        rounds, axis = divmod(depth, len(middle))  # sides are cut in turns
        step = np.zeros(len(middle))
        step[axis] = 3.0 ** -(rounds + 1)
        self.splits[cell] = depth + 1
        self.add(cell)
        for moved in (middle - step, middle + step):
            self.middles.append(moved)
            self.splits.append(depth + 1)
            yield moved
            self.add(len(self.middles) - 1)


def _diameter(depth: int, dim: int) -> float:
    """The diagonal of a cell after so many cuts; 1 for the whole cube."""
    rounds, more = divmod(depth, dim)
    return math.sqrt((dim - more) * 9.0**-rounds + more * 9.0 ** -(rounds + 1)) / math.sqrt(dim)


def _start(cells: _Cells) -> Iterator[Unit]:
    yield cells.middles[0]
    cells.add(0)


def _doo(cells: _Cells, slope: float) -> Iterator[Unit]:
    yield from _start(cells)
    while True:
        scale = slope * (cells.high - cells.low)
        # In a depth all bounds are higher by the same, so the best leaf of each is enough.
        bounds = [
            cells.best_at(depth)[0] + scale * cells.diameters[depth] if leaves else -math.inf
            for depth, leaves in enumerate(cells.leaves)
        ]
        yield from cells.split(bounds.index(max(bounds)))


def _soo(cells: _Cells) -> Iterator[Unit]:
    yield from _start(cells)
    expanded = 0
    while True:  # a depth is allowed long before all leaves above it are split
        best = -math.inf
        for depth in range(min(len(cells.leaves) - 1, math.isqrt(expanded)) + 1):
            if cells.leaves[depth] and cells.best_at(depth)[0] >= best:
                best = cells.best_at(depth)[0]
                yield from cells.split(depth)
                expanded += 1


def doo(box: Box, *, slope: float = 1.0) -> Searcher:
    """Deterministic optimistic optimisation: splits the cell with the highest upper bound.

    A cell's bound is the value at its middle, plus `slope` times the range of the values so far
    times the cell's diameter (1 for the whole cube). Munos takes the reward's smoothness as known;
    with the range in its place the bound does not depend on the reward's unit. Cells are cut in
    three, axis after axis. One trial follows the other: see `baselines.one_at_a_time`.

    Args:
        box: what to search.
        slope: how steep the reward may be.

    Raises:
        ValueError: a negative slope, or a space that is no box.
    """
    check(box, Box)
    if not slope >= 0.0:
        raise ValueError(f"slope: expected at least 0, got {slope}")
    return _split(box, lambda cells: _doo(cells, slope))


def soo(box: Box) -> Searcher:
    """Simultaneous optimistic optimisation: DOO for every smoothness at once.

    From the top, the best leaf of each depth is split if it is at least as good as all that were
    split in this sweep, down to the depth sqrt(n) after n splits (Munos, section 5).

    Raises:
        ValueError: a space that is no box.
    """
    check(box, Box)
    return _split(box, _soo)


def _split(box: Box, order: Callable[[_Cells], Iterator[Unit]]) -> Searcher:
    def wanted(history: History, costs: list[float]) -> Unit:
        del history
        cells = _Cells(box.dim)
        points = order(cells)
        for cost in costs:
            next(points)
            cells.values.append(-cost)
        return box.from_unit(next(points)[None])[0]

    return one_at_a_time(box, wanted)


def voo(box: Box, *, uniform: float = 0.2) -> Searcher:
    """Voronoi optimistic optimisation: uniform points, or points nearest to the best sample.

    The second kind are drawn until one is nearer to the best sample than to any other, in the
    unit cube. After 1,000 draws in vain the box they are drawn from, around the best sample, is
    halved, so that 20 dimensions take no longer than two; the authors' code narrows a Gaussian.

    Args:
        box: what to search.
        uniform: how often a point is drawn from the whole box.

    Raises:
        ValueError: `uniform` is not from 0 to 1, or the space is no box.
    """
    check(box, Box)
    if not 0.0 <= uniform <= 1.0:
        raise ValueError(f"uniform: expected 0 to 1, got {uniform}")

    def propose(history: History, n: int) -> Float[np.ndarray, "n dim"]:
        good = history.good
        units, values = box.to_unit(history.points[good]), history.values[good]
        new = []
        for number in range(history.asked, history.asked + n):
            rng = generator(history.seed, number)
            if len(good) == 0 or rng.random() < uniform:
                new.append(rng.random(box.dim))
            else:
                new.append(_in_cell(rng, units, int(np.argmax(values))))
        return box.from_unit(np.array(new))

    return from_history(box, propose)


def _in_cell(rng: np.random.Generator, units: Float[np.ndarray, "n dim"], best: int) -> Unit:
    """A point of the cube whose nearest sample is `units[best]`."""
    centre, side = units[best], 1.0
    while True:
        low, high = np.maximum(centre - side, 0.0), np.minimum(centre + side, 1.0)
        points = rng.uniform(low, high, (_DRAWS, len(centre)))
        inside = _nearest(points, units, best)
        if inside.any():
            return points[int(np.argmax(inside))]
        side /= 2.0
        if side < 1e-12:  # the best sample stands there twice
            return points[0]


def _nearest(
    points: Float[np.ndarray, "m dim"], units: Float[np.ndarray, "n dim"], best: int
) -> Bool[np.ndarray, " m"]:
    """Whether no sample is nearer to a point than the best one."""
    # |p - u|^2 without |p|^2, which is the same for all samples.
    distances = (units**2).sum(1) - 2.0 * points @ units.T
    return distances[:, best] <= distances.min(1)
