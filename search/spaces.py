"""Spaces to search: a box of real numbers, and vectors of discrete choices.

A space has `dim` and four functions: `sample`, `contains`, and `to_unit` and `from_unit`, which map
its points to the unit cube and back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real

ENUMERABLE = 20_000  # points of a space of choices that are all looked at instead of drawn


class Box(NamedTuple):
    """All real vectors between two corners. Made by `box`.

    Attributes:
        low: float64 `[dim]`.
        high: float64 `[dim]`, above `low`.
    """

    low: Float[np.ndarray, " dim"]
    high: Float[np.ndarray, " dim"]

    @property
    def dim(self) -> int:
        """How many numbers a point has."""
        return len(self.low)

    def sample(self, rng: np.random.Generator, n: int) -> Float[np.ndarray, "n dim"]:
        """Uniform points."""
        return self.from_unit(rng.random((n, self.dim)))

    def contains(self, points: Real[np.ndarray, "n dim"]) -> Bool[np.ndarray, " n"]:
        """Which points lie inside; the border counts."""
        return np.all((points >= self.low) & (points <= self.high), axis=-1)

    def to_unit(self, points: Real[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Points as vectors in [0, 1]^dim."""
        return (points - self.low) / (self.high - self.low)

    def from_unit(self, units: Real[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Vectors of [0, 1]^dim as points; what lies outside is moved to the border."""
        points = self.low + np.clip(units, 0.0, 1.0) * (self.high - self.low)
        return np.clip(points, self.low, self.high)  # rounding must not leave the box


def box(low: float | Sequence[float], high: float | Sequence[float], dim: int | None = None) -> Box:
    """A box.

    Args:
        low: of each coordinate, or of all of them.
        high: the same.
        dim: how many coordinates, where `low` and `high` are one number each.

    Raises:
        ValueError: corners that are not finite, not of one length, or not in order.

    >>> box(-5.0, 10.0, 3).dim
    3
    """
    lows, highs = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if dim is not None:
        lows, highs = np.broadcast_to(lows, (dim,)), np.broadcast_to(highs, (dim,))
    if lows.ndim != 1 or lows.shape != highs.shape or len(lows) == 0:
        raise ValueError(
            f"low, high: expected vectors of one length (or numbers and dim), got {low}, {high}"
        )
    if not (np.isfinite(lows).all() and np.isfinite(highs).all() and (lows < highs).all()):
        raise ValueError(f"low, high: expected finite numbers, low < high, got {low}, {high}")
    return Box(lows.copy(), highs.copy())


class Choices(NamedTuple):
    """Vectors of choices: coordinate i is a whole number from 0 to `sizes[i]` - 1.

    The choices of one coordinate have no order; a surrogate sees them one-hot (`one_hot`). Made by
    `choices`.

    Attributes:
        sizes: int64 `[dim]`, each at least 2.
    """

    sizes: Int[np.ndarray, " dim"]

    @property
    def dim(self) -> int:
        """How many choices a point has."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """How many points there are, however many."""
        return math.prod(int(size) for size in self.sizes)

    def sample(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n dim"]:
        """Uniform points; the same one may come twice."""
        return rng.integers(0, self.sizes, (n, self.dim))

    def contains(self, points: Int[np.ndarray, "n dim"]) -> Bool[np.ndarray, " n"]:
        """Which points are in the space."""
        return np.all((points >= 0) & (points < self.sizes), axis=-1)

    def one_hot(self, points: Int[np.ndarray, "n dim"]) -> Float[np.ndarray, "n hot"]:
        """One coordinate a choice: float64 0 or 1, `[n, sum of sizes]`."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        hot = np.zeros((len(points), int(self.sizes.sum())))
        hot[np.arange(len(points))[:, None], points + offsets] = 1.0
        return hot

    def to_unit(self, points: Int[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Points in [0, 1]^dim: the middle of the interval that belongs to each choice."""
        return (points + 0.5) / self.sizes

    def from_unit(self, units: Real[np.ndarray, "n dim"]) -> Int[np.ndarray, "n dim"]:
        """The choice whose interval each number of [0, 1] lies in."""
        inside = np.clip(units, 0.0, 1.0)
        return np.minimum((inside * self.sizes).astype(np.int64), self.sizes - 1)

    def rows(self, points: Int[np.ndarray, "n dim"]) -> Int[np.ndarray, " n"]:
        """Each point's row in a table of all points, sorted with the last choice fastest."""
        return np.ravel_multi_index(tuple(points.T), tuple(self.sizes))

    def every(self) -> Int[np.ndarray, "size dim"]:
        """All points, in the order of `rows`."""
        return np.indices(tuple(self.sizes)).reshape(self.dim, -1).T

    def mutate(
        self, rng: np.random.Generator, point: Int[np.ndarray, " dim"]
    ) -> Int[np.ndarray, " dim"]:
        """The point with one choice, drawn uniformly, replaced by another one."""
        where = int(rng.integers(self.dim))
        child = point.copy()
        step = rng.integers(1, self.sizes[where])
        child[where] = (child[where] + step) % self.sizes[where]
        return child


def choices(sizes: Sequence[int]) -> Choices:
    """A space of choices.

    Raises:
        ValueError: no coordinate, or one with fewer than two choices.

    >>> choices([5] * 6).size
    15625
    """
    array = np.asarray(sizes)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu" or (array < 2).any():
        raise ValueError(f"sizes: expected whole numbers of at least 2, got {list(sizes)}")
    return Choices(array.astype(np.int64))


Space = Box | Choices


def check(space: object, *kinds: type) -> None:
    """Checks that a searcher is given a space of a kind that it can search.

    Args:
        space: what it was given.
        kinds: those that it takes: `Box`, `Choices` or both.

    Raises:
        ValueError: another kind; says what was expected and which searchers take what came.
    """
    if isinstance(space, kinds):
        return
    wanted = {Box: "a box (spaces.box)", Choices: "choices (spaces.choices)"}
    message = f"space: expected {' or '.join(wanted[kind] for kind in kinds)}, got "
    if isinstance(space, Box):
        raise ValueError(
            f"{message}a box of dimension {space.dim}; boxes are searched by lamcts, turbo, lanas, "
            "optimistic, smac, baselines.random, bayesian, cma_es, tpe, nevergrad_default and scipy"
        )
    if isinstance(space, Choices):
        raise ValueError(
            f"{message}choices of sizes {space.sizes.tolist()}; choices are searched by lanas, "
            "lamcts_choices, smac and baselines.random, regularised_evolution, tpe, and, through "
            "design_spaces.choices_in_order, by mcts, alphax and q_learning"
        )
    raise ValueError(f"{message}{type(space).__name__}")
