"""Where LA-MCTS searches: the regions that it selects, one tree after the other.

Source: Wang 2022, section 5.4.3 (figures 5.3, 5.9 and 5.11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from search import interface, lamcts, partition
from search.interface import History
from search.partition import Kernel, Node, Region
from search.spaces import Box, box


class Iteration(NamedTuple):
    """A tree and what it selects.

    Attributes:
        history: the samples it was learned from.
        root: the tree; its members are numbers of samples with a value.
        region: that is selected, in the unit cube.
        selected: mean reward of the samples in the region.
        best: the highest reward so far.
    """

    history: History
    root: Node
    region: Region
    selected: float
    best: float


def iterations(
    space: Box,
    settings: lamcts.Settings,
    objective: Callable[[Any, int], float],
    *,
    seed: int,
    count: int,
    batch: int = 1,
) -> list[Iteration]:
    """Searches with LA-MCTS until so many regions were selected.

    Args:
        space: the box.
        settings: of LA-MCTS.
        objective: `(point, seed) -> reward`.
        seed: of the search.
        count: regions.
        batch: trials asked for at once; for solvers that learn a tree at each `ask` ("random" and
            "bo"), the trials between one tree and the next.

    Raises:
        ValueError: a count or batch below 1.
    """
    interface.check_count(count)
    interface.check_count(batch)
    searcher = lamcts.searcher(space, settings)
    state, found = searcher.init(seed), list[Iteration]()
    while True:
        before, designed = state, state.history.asked >= settings.num_init
        state, trials = searcher.ask(state, batch if designed else settings.num_init)
        if state.first != before.first:
            root, values = lamcts.tree(settings, space, before.history)
            units = space.to_unit(before.history.points[before.history.good])
            selected = float(values[partition.inside(state.region, units)].mean())
            best = float(values.max())
            found.append(Iteration(before.history, root, state.region, selected, best))
            if len(found) == count:
                return found
        state = searcher.tell(state, [interface.score(trial, objective) for trial in trials])


def splits(root: Node) -> int:
    """How many nodes of a tree have children."""
    return len(partition.leaves(root)) - 1


def depth(root: Node) -> int:
    """Levels of a tree below its root."""
    children = [child for child in (root.good, root.bad) if child is not None]
    return max((1 + depth(child) for child in children), default=0)


def with_regions(root: Node, region: Region = ()) -> list[tuple[Node, Region]]:
    """The leaves with their regions, the best side first; `region` is the root's own."""
    if root.boundary is None or root.good is None or root.bad is None:
        return [(root, region)]
    good = with_regions(root.good, (*region, (root.boundary, True)))
    return good + with_regions(root.bad, (*region, (root.boundary, False)))


def means(
    root: Node,
    values: Float[np.ndarray, " n"],
    at: Float[np.ndarray, "m dim"],
    levels: int | None = None,
) -> Float[np.ndarray, " m"]:
    """At each point of the unit cube, the mean value of the samples in its leaf.

    Args:
        root: of the tree.
        values: of its samples.
        at: points.
        levels: of the tree that are descended at most; all of them by default.
    """
    if levels == 0 or root.boundary is None or root.good is None or root.bad is None:
        return np.full(len(at), values[root.members].mean())
    good, found = partition.decide(root.boundary, at) > 0, np.zeros(len(at))
    below = None if levels is None else levels - 1
    found[good] = means(root.good, values, at[good], below)
    found[~good] = means(root.bad, values, at[~good], below)
    return found


def volume(
    region: Region, dim: int, rng: np.random.Generator, *, shells: int = 14, each: int = 2000
) -> float:
    """The share of the unit cube that a region takes, from 0 to 1, by Monte Carlo.

    The cube is cut into shells, halving its side about the middle each time, and each shell gets
    equally many uniform points: unbiased for every region, and precise for one of any size that
    lies around the middle.

    Args:
        region: of a tree.
        dim: of the cube; few, since most of a shell is then in its corners.
        rng: the random numbers.
        shells: how many, the last one a whole cube of side 2^(1 - shells).
        each: points in a shell.

    Raises:
        ValueError: fewer than one shell or point.
    """
    if min(shells, each) < 1:
        raise ValueError(f"shells, each: expected at least 1, got {shells}, {each}")
    total = 0.0
    for shell in range(shells):
        last = shell == shells - 1
        points = 2.0 * rng.random((each, dim)) - 1.0
        while not last and (inner := np.abs(points).max(1) < 0.5).any():
            points[inner] = 2.0 * rng.random((int(inner.sum()), dim)) - 1.0
        side = 0.5**shell
        share = side**dim - (0.0 if last else (side / 2) ** dim)
        total += share * float(partition.inside(region, 0.5 + 0.5 * side * points).mean())
    return total


def measure(space: Box, iteration: Iteration) -> dict[str, float]:
    """What an iteration has selected of a box, for a cost whose minimum is 0 at the origin.

    Returns:
        contains_optimum: 1 where the optimum lies in the region, else 0.
        selected_regret: mean cost of the samples in the region, |v_sel - v*|.
        splits: of the tree.
        best_value: the least cost so far.
        volume_percent: of the box that the region takes, by Monte Carlo; in two dimensions at most,
            since in many no few uniform points tell.
    """
    optimum = space.to_unit(np.zeros((1, space.dim)))
    found = {
        "contains_optimum": float(partition.inside(iteration.region, optimum)[0]),
        "selected_regret": -iteration.selected,
        "splits": float(splits(iteration.root)),
        "best_value": -iteration.best,
    }
    if space.dim <= 2:
        share = volume(iteration.region, space.dim, interface.generator(0))
        found["volume_percent"] = 100.0 * share
    return found


def regret_correlation(run: Sequence[Iteration]) -> float:
    """Spearman's correlation of splits and selected regret over iterations.

    It is 0 where one of the two never changes, as there is no order then.
    """
    from scipy.stats import spearmanr

    counts = [splits(each.root) for each in run]
    regret = [-each.selected for each in run]
    if len(set(counts)) == 1 or len(set(regret)) == 1:
        return 0.0
    return float(spearmanr(counts, regret).statistic)


class Sine(NamedTuple):
    """A tree of uniform samples of sin(x) on an interval (figure 5.3).

    Attributes:
        box: the interval.
        maxima: of the sine in it.
        units: the samples, in [0, 1].
        values: their sines.
        root: the tree.
    """

    box: Box
    maxima: Float[np.ndarray, " maxima"]
    units: Float[np.ndarray, "n 1"]
    values: Float[np.ndarray, " n"]
    root: Node

    @property
    def measured(self) -> dict[str, float]:
        """Where its leaves are whose samples' mean is above 0.5.

        Returns:
            maxima_inside: part of the maxima in them; volume_percent: of the interval;
            leaf_mean: mean over the samples of the best leaf; splits: of the tree.
        """

        def high(at: Float[np.ndarray, "m 1"]) -> float:
            return float(np.mean(means(self.root, self.values, at) > 0.5))

        leaves = partition.leaves(self.root)
        return {
            "maxima_inside": high(self.box.to_unit(self.maxima[:, None])),
            "volume_percent": 100.0 * high(np.linspace(0.0, 1.0, 4001)[:, None]),
            "leaf_mean": float(max(self.values[leaf.members].mean() for leaf in leaves)),
            "splits": float(splits(self.root)),
        }


def sine(
    low: float, high: float, seed: int, *, leaf_size: int = 20, kernel: Kernel = "rbf"
) -> Sine:
    """Learns a tree of 100 samples of sin(x) between two numbers."""
    interval = box(low, high, 1)
    first, last = (np.floor((end / np.pi - 0.5) / 2) for end in (low, high))
    maxima = np.pi / 2 + 2 * np.pi * np.arange(first + 1, last + 1)
    units = interface.generator(seed, 0).random((100, 1))
    values = np.sin(interval.from_unit(units)[:, 0])
    root = partition.build(units, values, leaf_size=leaf_size, kernel=kernel, seed=seed)
    return Sine(interval, maxima, units, values, root)
