"""LA-MCTS over vectors of choices, such as architectures.

It learns the same tree as `search.lamcts`, from one-hot vectors. TuRBO and CMA-ES need coordinates
with an order, so the solvers here are uniform points of the region, or those of largest expected
improvement among them. A region is sampled by rejection; in a small space all its points are listed
instead. A point that was asked for is not asked for again while there are others.

Source: Wang 2022, chapter 5, which runs it on boxes; the encoding is LaNAS's (section 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from search import gp, lamcts, partition, spaces
from search.acquisition import expected_improvement
from search.interface import (
    History,
    Outcome,
    Searcher,
    Trial,
    begin,
    check_count,
    extend,
    generator,
    record,
)
from search.lamcts import Settings
from search.partition import Region
from search.spaces import ENUMERABLE, Choices

DRAWS, ROUNDS = 1024, 4  # uniform points that are tried for a region, before neighbours of samples


def searcher(space: Choices, settings: Settings | None = None) -> Searcher:
    """LA-MCTS in a space of choices; its state is its history.

    The tree is learned anew for every `ask`. Of the settings, those of TuRBO-1 are not used.

    Args:
        space: what to search.
        settings: solver "random" (the default here) or "bo".

    Raises:
        ImportError: scikit-learn is absent; says what to install.
        ValueError: a setting out of range, another solver, or a space that is not of choices.
    """
    spaces.check(space, Choices)
    chosen = settings or Settings(solver="random")
    lamcts.check(chosen)
    if chosen.solver not in ("random", "bo"):
        raise ValueError(f"solver: expected random or bo for choices, got {chosen.solver!r}")
    partition.require("sklearn")

    def ask(history: History, n: int) -> tuple[History, list[Trial]]:
        check_count(n)
        rng = generator(history.seed, history.asked)
        if history.asked < chosen.num_init or len(history.good) < 2:
            return extend(history, _filled(space, _new(space, (), history, n, n, rng), n, rng))
        good = history.good
        hot, values = space.one_hot(history.points[good]), history.values[good]
        root = partition.build(
            hot, values, leaf_size=chosen.leaf_size, kernel=chosen.kernel,
            scale_values=chosen.scale_values, seed=history.seed % 2**32,
        )  # fmt: skip
        _, region = partition.select(root, values, c=chosen.c, form=chosen.form)
        if chosen.solver == "random":
            found = _new(space, region, history, n, n, rng)
            return extend(history, _filled(space, found, n, rng))
        found = _new(space, region, history, n, max(n, chosen.candidates), rng)
        found = _filled(space, found, n, rng)
        posterior = gp.fit(hot, values, steps=chosen.fit_steps)
        gain = expected_improvement(
            *gp.predict(posterior, space.one_hot(found)), float(values.max())
        )
        return extend(history, found[np.argsort(-gain, kind="stable")[:n]])

    def tell(history: History, outcomes: Sequence[Outcome]) -> History:
        return record(history, outcomes)

    return Searcher(lambda seed: begin(seed, space.dim, np.int64), ask, tell)


def _new(
    space: Choices,
    region: Region,
    history: History,
    least: int,
    most: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "some dim"]:
    """Points of the region that were not asked for.

    Where it has fewer than `least`, those of the regions above follow.
    """
    found = np.zeros((0, space.dim), np.int64)
    for depth in range(len(region), -1, -1):
        for points in _tries(space, region[:depth], history, rng):
            found = _distinct(np.concatenate([found, points]), history)
            if len(found) >= least:
                return found[:most]
    return found


def _filled(
    space: Choices, found: Int[np.ndarray, "some dim"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, "more dim"]:
    """At least n points: where nothing new is left, what was asked for comes again."""
    return np.concatenate([found, space.sample(rng, max(0, n - len(found)))])


def _tries(
    space: Choices, region: Region, history: History, rng: np.random.Generator
) -> list[Int[np.ndarray, "some dim"]]:
    if space.size <= ENUMERABLE:
        every = space.every()
        every = every[partition.inside(region, space.one_hot(every))]
        return [every[rng.permutation(len(every))]]
    drawn = space.sample(rng, DRAWS * ROUNDS)
    tries = [drawn[partition.inside(region, space.one_hot(drawn))]]
    good = history.points[history.good]
    members = good[partition.inside(region, space.one_hot(good))]
    if len(members):
        near = _neighbours(space, members)
        near = near[partition.inside(region, space.one_hot(near))]
        tries.append(near[rng.permutation(len(near))])
    return tries


def _neighbours(
    space: Choices, points: Int[np.ndarray, "n dim"]
) -> Int[np.ndarray, "neighbour dim"]:
    """All points that differ in one choice."""
    each = []
    for where, size in enumerate(space.sizes):
        for step in range(1, int(size)):
            moved = points.copy()
            moved[:, where] = (moved[:, where] + step) % size
            each.append(moved)
    return np.unique(np.concatenate(each), axis=0)


def _distinct(points: Int[np.ndarray, "n dim"], history: History) -> Int[np.ndarray, "some dim"]:
    """Without repetitions and without what was asked for, in the order given."""
    asked = {point.tobytes() for point in history.points}
    keep = []
    for number, point in enumerate(points):
        key = point.tobytes()
        if key not in asked:
            asked.add(key)
            keep.append(number)
    return points[keep]
